/*
 * A loadable module for OpenIPMI's ipmi_sim: hands the chassis commands for power and boot options to the rack daemon
 * and answers with what the daemon says, so that power and boot flags live in one place (chassis.ts) and in every bit;
 * ipmi_sim's own boot options keep nothing but the device number.
 *
 * loadlib "…/bmc-chassis.so" "SOCKET MACHINE". One connection to the Unix socket per command:
 *   to the daemon   "chassis MACHINE CC DD…\n"   command and data bytes, as one run of hex digits
 *   from it         "RR DD…\n"                   completion code and data bytes, likewise
 * No daemon, no answer within 5 s, or not hex: completion code CEh, "cannot respond" (IPMI 2.0, table 5-2).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <OpenIPMI/mcserv.h>
#include <OpenIPMI/msg.h>

enum { CANNOT_RESPOND = 0xce, MAX_DATA = 64 };

/*
 * ipmi_sim's own table of chassis commands, by command number. ipmi_emu_register_cmd_handler() would set its entries,
 * but takes other arguments in Debian 13's OpenIPMI (2.0.37) than in Debian 12's (2.0.33); the table is the same.
 */
extern cmd_handler_f chassis_netfn_handlers[256];

static struct sockaddr_un daemon_address = { .sun_family = AF_UNIX };
static char machine[64];

/* Sends one line and reads one line; returns 0 when a whole line came back. */
static int ask(const char *request, char *reply, size_t size)
{
    struct timeval limit = { .tv_sec = 5 };
    size_t have = 0;
    ssize_t got;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *) &daemon_address, sizeof(daemon_address)) == 0
        && send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t) strlen(request))
        while (have + 1 < size && (got = read(fd, reply + have, size - 1 - have)) > 0) {
            have += got;
            if (reply[have - 1] == '\n')
                break;
        }
    close(fd);
    reply[have] = '\0';
    return have > 0 && reply[have - 1] == '\n' ? 0 : -1;
}

static void chassis_command(lmc_data_t *mc, msg_t *msg, unsigned char *rdata, unsigned int *rdata_len, void *cb_data)
{
    char request[2 * MAX_DATA + sizeof(machine) + 16], reply[2 * MAX_DATA + 2];
    unsigned int i, length, at;

    (void) mc;
    (void) cb_data;
    rdata[0] = CANNOT_RESPOND;
    *rdata_len = 1;
    length = sprintf(request, "chassis %s %02x", machine, msg->cmd);
    for (i = 0; i < msg->len && i < MAX_DATA; i++)
        length += sprintf(request + length, "%02x", msg->data[i]);
    strcpy(request + length, "\n");
    if (ask(request, reply, sizeof(reply)) != 0)
        return;
    for (i = 0, at = 0; sscanf(reply + at, "%2x", &length) == 1; i++, at += 2)
        rdata[i] = length;
    if (i > 0)
        *rdata_len = i;
}

int ipmi_sim_module_print_version(sys_data_t *sys, char *options)
{
    (void) sys;
    (void) options;
    return 0;
}

int ipmi_sim_module_init(sys_data_t *sys, const char *options)
{
    static const unsigned char commands[] = { 0x01, 0x02, 0x08, 0x09 };
    unsigned int i;

    (void) sys;
    if (sscanf(options, "%107s %63s", daemon_address.sun_path, machine) != 2) {
        fprintf(stderr, "bmc-chassis: options must be \"SOCKET MACHINE\", not \"%s\"\n", options);
        return -1;
    }
    for (i = 0; i < sizeof(commands); i++)
        chassis_netfn_handlers[commands[i]] = chassis_command;
    return 0;
}
