/*
 * options: the options that every daemon has, beside those of its services.
 */
#ifndef CORBEL_DAEMON_OPTIONS_H
#define CORBEL_DAEMON_OPTIONS_H

#include <stdio.h>

#include "config/config.h"
#include "daemon/service.h"

struct options;

/* The tables for config_load(): the common options, "bus.NAME", "pub.NAME" and "workers.NAME" for each
 * daemon of the contract and each of `services`, and the services' own. Lives as long as the config. */
struct options *options_new(const struct service *const *services);
void options_free(struct options *options);
const struct config_option *const *options_tables(const struct options *options);

/* What the types of options cannot say: the form of addresses and of URLs. One line an error; returns
 * their number. */
size_t options_check(const struct config *config, const struct service *const *services, FILE *errors);

/* The address of a daemon from "bus.template" or "pub.template": {name} filled in. Owned by the caller; NULL
 * when there is no {name}. */
char *options_fill_template(const char *pattern, const char *daemon);

/* Calls `each` with every name: of the services, and of the contract's other daemons. */
void options_each_daemon(const struct service *const *services, void (*each)(void *arg, const char *name),
                         void *arg);

#endif
