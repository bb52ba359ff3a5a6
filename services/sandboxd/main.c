#include "sandboxd.h"

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, (const struct service *const[]){&sandboxd_service, NULL});
}
