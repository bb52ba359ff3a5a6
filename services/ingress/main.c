#include "ingress.h"

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, (const struct service *const[]){&ingress_service, NULL});
}
