/* client PORT FILE CONNECTIONS EACH SECONDS [once]: ask PORT with the request in FILE, over CONNECTIONS at a time.
 *
 * Every connection asks again as soon as it has its answer. It is replaced by a new one after EACH answers (0: never)
 * and where the server closes it. With `once` all connections are opened at once and ask once; when all have their
 * answer, or after SECONDS, they are kept open until stdin ends.
 *
 * A request takes from its sending, the first one of a connection from its connecting, to the last byte of its answer.
 * Whatever has no answer at the end of `once` counts as failed, and as taking all that time. The result is one line of
 * JSON, as that of bench/wrk.lua. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUEST = 4096, MAX_HEAD = 4096, MAX_READ = 1 << 18, MAX_EVENTS = 512, SLOWEST_US = 1 << 24, RETRY_MS = 10 };

struct client {
    int fd;             /* -1: none could be opened, and it is to be tried again */
    int asked, answers; /* whether an answer is due; how many have come on this connection */
    int leaving;        /* the server has said, or is known, to close after this answer */
    int status;
    int64_t since;
    size_t got, whole; /* bytes of this answer, and how many it has: 0 while unknown, SIZE_MAX until the end */
    char head[MAX_HEAD + 1];
};

static char request[MAX_REQUEST];
static size_t request_length;
static int is_head, is_old, each, once, queue, down, waiting;
static struct sockaddr_in server = {.sin_family = AF_INET};
static unsigned took[SLOWEST_US];
static long requests, failed, not_2xx, opened;

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void note(int64_t us) { took[us < SLOWEST_US ? us : SLOWEST_US - 1]++; }

static void leave(struct client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    down++;
}

static void enter(struct client *c) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    c->since = now();
    c->asked = c->answers = c->leaving = 0;
    c->got = c->whole = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    down--;
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)) {
        failed++;
        waiting--;
        leave(c);
        return;
    }
    opened++;
    epoll_ctl(queue, EPOLL_CTL_ADD, c->fd, &event);
}

/* The connection has ended without the answer that was due. */
static void lose(struct client *c) {
    failed++;
    waiting--;
    leave(c);
    if (!once) enter(c);
}

static int ask(struct client *c) {
    c->asked = 1;
    c->got = c->whole = 0;
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) == (ssize_t)request_length) return 1;
    lose(c);
    return 0;
}

/* Whether the head is complete; then the length of the answer is known, and what becomes of the connection. */
static int understand(struct client *c) {
    char *end, *line;
    int says_close = 0, says_keep = 0;
    size_t length = SIZE_MAX;
    c->head[c->got < MAX_HEAD ? c->got : MAX_HEAD] = 0;
    if (!(end = strstr(c->head, "\r\n\r\n"))) return 0;
    for (line = strstr(c->head, "\r\n"); line < end; line = strstr(line + 2, "\r\n")) {
        const char *field = line + 2;
        if (*field != 'c' && *field != 'C') continue;
        if (!strncasecmp(field, "content-length:", 15)) length = strtoul(field + 15, NULL, 10);
        says_close |= !strncasecmp(field, "connection: close", 17);
        says_keep |= !strncasecmp(field, "connection: keep-alive", 22);
    }
    c->status = atoi(c->head + sizeof "HTTP/1.1");
    c->leaving = is_old ? !says_keep : says_close;
    if (is_head) length = 0;
    c->whole = length == SIZE_MAX ? SIZE_MAX : end + 4 - c->head + length;
    return 1;
}

/* The answer is whole; returns whether more may have come that is to be read now. */
static int answered(struct client *c) {
    int64_t at = now();
    note(at - c->since);
    requests++;
    waiting--;
    not_2xx += c->status / 100 != 2;
    c->answers++;
    c->asked = 0;
    c->got = c->whole = 0;
    if (once || c->leaving) return 1;
    if (each && c->answers >= each) {
        leave(c);
        enter(c);
    } else {
        c->since = at;
        ask(c);
    }
    return 0;
}

static void ended(struct client *c) {
    if (c->asked && c->whole == SIZE_MAX) {
        c->leaving = 1;
        answered(c);
    }
    if (c->asked || (!c->leaving && !once)) {
        lose(c);
    } else if (!once) {
        leave(c);
        enter(c);
    }
}

static void receive(struct client *c) {
    static char bytes[MAX_READ];
    for (;;) {
        ssize_t count = recv(c->fd, bytes, sizeof bytes, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0 || !c->asked) {
            ended(c);
            return;
        }
        size_t room = c->got < MAX_HEAD ? MAX_HEAD - c->got : 0;
        memcpy(c->head + MAX_HEAD - room, bytes, (size_t)count < room ? (size_t)count : room);
        c->got += count;
        if (!c->whole && !understand(c)) continue;
        if (c->got >= c->whole && !answered(c)) return;
    }
}

static double percentile(double share) {
    long all = 0, seen = 0, at;
    for (at = 0; at < SLOWEST_US; at++) all += took[at];
    for (at = 0; at < SLOWEST_US - 1; at++)
        if ((seen += took[at]) >= all * share) break;
    return all ? at / 1e3 : 0;
}

static void tell(int64_t lasted) {
    printf("measured {\"requests\": %ld, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"slowest_ms\": %.3f, "
           "\"failed\": %ld, \"not_2xx\": %ld, \"opened\": %ld}\n",
           requests, lasted / 1e6, percentile(0.5), percentile(0.99), percentile(1), failed, not_2xx, opened);
    fflush(stdout);
}

static void turn(struct client *clients, int count) {
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(queue, events, MAX_EVENTS, RETRY_MS);
    for (int i = 0; i < ready; i++) {
        struct client *c = events[i].data.ptr;
        if (!c->asked && !c->answers && events[i].events & EPOLLOUT && !ask(c)) continue;
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(c);
    }
    for (int i = 0; down && !once && i < count; i++)
        if (clients[i].fd < 0) enter(&clients[i]);
}

int main(int count, char **words) {
    FILE *file = count >= 6 ? fopen(words[2], "rb") : NULL;
    if (!file) return 2;
    request_length = fread(request, 1, sizeof request - 1, file);
    is_head = !strncmp(request, "HEAD ", 5);
    is_old = strstr(request, " HTTP/1.0\r\n") != NULL;
    int connections = atoi(words[3]);
    each = atoi(words[4]);
    once = count == 7;
    server.sin_port = htons(atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    queue = epoll_create1(0);
    struct client *clients = calloc(connections, sizeof *clients);
    int64_t start = now(), end = start + atoi(words[5]) * 1000000LL;
    down = waiting = connections;
    for (int i = 0; i < connections; i++) enter(&clients[i]);
    while (now() < end && (!once || waiting > 0)) turn(clients, connections);
    int64_t lasted = now() - start;
    for (int i = 0; once && i < connections; i++) {
        int due = !clients[i].answers;
        if (due) note(lasted);
        failed += due && clients[i].fd >= 0;
    }
    tell(lasted);
    for (char rest[64]; once && read(0, rest, sizeof rest) > 0;) continue;
    return 0;
}
