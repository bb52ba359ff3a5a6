/*
 * serve: `corbel serve`, the whole of Corbel in one process.
 */
#ifndef CORBEL_CLI_SERVE_H
#define CORBEL_CLI_SERVE_H

/* `argv[0]` is "serve"; the rest are options of the daemons. Returns the exit code. */
int serve_main(int argc, char **argv);

/* `corbel migrate`: brings the schemas of all services up to date, and ends; options as above. */
int migrate_main(int argc, char **argv);

/* `corbel welcome`: what serve tells when it is ready, for daemons that were started one by one: from
 * CORBEL_URL and, at the first start, CORBEL_API_KEY. */
int welcome_main(void);

#endif
