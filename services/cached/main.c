#include "cached.h"

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, (const struct service *const[]){&cached_service, NULL});
}
