/* comer PORT FILE RATE SECONDS: open RATE connections per second, whatever becomes of them, and ask once on each.
 *
 * The request in FILE is to close its connection. Whoever has no answer after SECONDS gets some more time for it. The
 * result is one line of JSON that says what has become of all connections. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUEST = 4096, MAX_HEAD = 4096, MAX_EVENTS = 512, MOST_AT_ONCE = 20000, SLOWEST_US = 1 << 24 };
enum { PATIENCE_US = 5000000 };

struct comer {
    int fd, asked;
    int64_t since;
    size_t got;
    char head[MAX_HEAD + 1];
    struct comer *next_free;
};

static char request[MAX_REQUEST];
static size_t request_length;
static int queue, here;
static struct sockaddr_in server = {.sin_family = AF_INET};
static struct comer comers[MOST_AT_ONCE], *free_ones;
static unsigned took[SLOWEST_US];
static long opened, answered, not_2xx, refused, reset, ended, cut, silent;

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void leave(struct comer *c, long *counted) {
    (*counted)++;
    close(c->fd);
    c->fd = -1;
    c->next_free = free_ones;
    free_ones = c;
    here--;
}

static void come(void) {
    struct comer *c = free_ones;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    opened++;
    if (!c) {
        silent++; /* So many wait already that nobody seems to answer. */
        return;
    }
    free_ones = c->next_free;
    here++;
    c->since = now();
    c->asked = 0;
    c->got = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS))
        leave(c, &refused);
    else
        epoll_ctl(queue, EPOLL_CTL_ADD, c->fd, &event);
}

/* Whether the head is there, and as much of a body as it says. */
static int is_whole(struct comer *c) {
    char *end, *length;
    c->head[c->got] = 0;
    end = strstr(c->head, "\r\n\r\n");
    length = strcasestr(c->head, "\r\ncontent-length:");
    return end && length && length < end && c->got == end + 4 - c->head + strtoul(length + 17, NULL, 10);
}

static void over(struct comer *c, int is_error) {
    if (is_whole(c)) {
        int64_t us = now() - c->since;
        took[us < SLOWEST_US ? us : SLOWEST_US - 1]++;
        not_2xx += c->head[9] != '2';
        leave(c, &answered);
    } else {
        leave(c, c->got ? &cut : !is_error ? &ended : c->asked ? &reset : &refused);
    }
}

static void receive(struct comer *c) {
    for (;;) {
        ssize_t count = recv(c->fd, c->head + c->got, MAX_HEAD - c->got, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) {
            over(c, count < 0);
            return;
        }
        c->got += count;
    }
}

static void turn(void) {
    struct epoll_event events[MAX_EVENTS];
    int ready = epoll_wait(queue, events, MAX_EVENTS, 1);
    for (int i = 0; i < ready; i++) {
        struct comer *c = events[i].data.ptr;
        if (!c->asked && events[i].events & EPOLLOUT && !(events[i].events & EPOLLERR))
            c->asked = send(c->fd, request, request_length, MSG_NOSIGNAL) == (ssize_t)request_length;
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(c);
    }
}

static double percentile(double share) {
    long seen = 0, at;
    for (at = 0; at < SLOWEST_US - 1; at++)
        if ((seen += took[at]) >= answered * share) break;
    return answered ? at / 1e3 : 0;
}

int main(int count, char **words) {
    FILE *file = count == 5 ? fopen(words[2], "rb") : NULL;
    if (!file) return 2;
    request_length = fread(request, 1, sizeof request, file);
    server.sin_port = htons(atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    queue = epoll_create1(0);
    for (int i = 0; i < MOST_AT_ONCE; i++) {
        comers[i].next_free = free_ones;
        free_ones = &comers[i];
    }
    int64_t start = now(), lasts = atoi(words[4]) * 1000000LL, at;
    while ((at = now() - start) < lasts) {
        while (opened < at * atoi(words[3]) / 1000000) come();
        turn();
    }
    while (here && now() - start < lasts + PATIENCE_US) turn();
    printf("measured {\"opened\": %ld, \"answered\": %ld, \"not_2xx\": %ld, \"refused\": %ld, \"reset\": %ld, "
           "\"ended\": %ld, \"cut\": %ld, \"silent\": %ld, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"slowest_ms\": %.3f}\n",
           opened, answered, not_2xx, refused, reset, ended, cut, silent + here, percentile(0.5), percentile(0.99),
           percentile(1));
    return 0;
}
