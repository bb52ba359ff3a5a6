/*
 * health: `corbel health`, whether a daemon is ready; for health checks of containers, which hold nothing
 * else that could ask.
 */
#ifndef CORBEL_CLI_HEALTH_H
#define CORBEL_CLI_HEALTH_H

/* `argv[0]` is "health". Returns the exit code: 0 when it is ready, 8 when it is not or does not answer. */
int health_main(int argc, char **argv);

#endif
