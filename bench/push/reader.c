/* reader PORT FILE SUBSCRIBERS PER_SECOND SILENT: send the request in FILE over that many connections, opened at that
 * rate, and read the events that come; SILENT of them, spread evenly, send theirs and never read.
 *
 * It says `ready` when all have been opened and all readers have their head. `begin` on stdin begins the measurement
 * and is answered with `begun`, `end` ends it and is answered with its measure, a line of JSON; both wait for a moment
 * without events, so that no push is cut in two. It ends with stdin.
 *
 * An event is what an empty line ends, is named `price` and has "fetched_at_ms" in its data: that tells the pushes
 * apart, and is the time of the change. A push takes from that time to the last subscriber's reading of it. */
#define _GNU_SOURCE
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

enum { MAX_REQUEST = 4096, MAX_LINE = 4096, MAX_EVENTS = 512, MAX_PUSHES = 1 << 16, TURN_MS = 5, BEGIN = 'b' };
enum { SMALLEST_BUFFER = 1, QUIET_US = 20000, MOST_QUIET_US = 2000000, PATIENCE_US = 30000000 };
static const char STAMP[] = "\"fetched_at_ms\":";

struct subscriber {
    int fd, silent, asked;
    int has_head, is_price; /* whether the head is over; whether this event is one of a price */
    int64_t stamp;          /* of this event; 0 while unknown */
    size_t length;          /* bytes of a line whose end has not come yet */
    char line[MAX_LINE];
};

struct push {
    int64_t stamp, delay_us; /* the delay is that of the last subscriber so far */
    long count;
};

static char request[MAX_REQUEST];
static size_t request_length;
static int queue, connections, silent, opened, serving, begun;
static char asked; /* what stdin wants, by its first letter; 0: nothing */
static long errors, events;
static int64_t newest, last_event_us, asked_us, began_us;
static int64_t before; /* the newest push when the measurement began */
static struct push pushes[MAX_PUSHES];
static int pushed;
static struct sockaddr_in server = {.sin_family = AF_INET};

static int64_t now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void lose(struct subscriber *s) {
    errors++;
    serving -= s->has_head;
    close(s->fd);
    s->fd = -1;
}

static void enter(struct subscriber *s) {
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT, .data.ptr = s};
    int size = SMALLEST_BUFFER;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (s->silent) setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (s->fd < 0 || (connect(s->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)) {
        lose(s);
        return;
    }
    epoll_ctl(queue, EPOLL_CTL_ADD, s->fd, &wanted);
}

static void ask(struct subscriber *s) {
    struct epoll_event wanted = {.events = s->silent ? 0 : EPOLLIN, .data.ptr = s};
    s->asked = 1;
    if (send(s->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) {
        lose(s);
        return;
    }
    /* Nothing more is to be heard of a silent one, not even its end: a server may let it go. */
    epoll_ctl(queue, s->silent ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, s->fd, &wanted);
}

static void note(int64_t stamp) {
    int at = pushed - 1;
    last_event_us = now(CLOCK_MONOTONIC);
    if (stamp > newest) newest = stamp;
    events += begun;
    if (!begun || stamp <= before) return;
    while (at >= 0 && pushes[at].stamp != stamp) at--;
    if (at < 0) {
        if (pushed == MAX_PUSHES) exit(3);
        pushes[at = pushed++] = (struct push){.stamp = stamp};
    }
    pushes[at].count++;
    pushes[at].delay_us = now(CLOCK_REALTIME) - stamp * 1000;
}

/* A whole line without its end; an empty one ends the head or an event. What frames the chunks of a body is skipped. */
static void understand(struct subscriber *s, const char *line, size_t length) {
    const char *found;
    if (!length) {
        serving += !s->has_head;
        s->has_head = 1;
        if (s->is_price && s->stamp) note(s->stamp);
        s->is_price = 0;
        s->stamp = 0;
    } else if (!s->has_head) {
        if (length >= 12 && !memcmp(line, "HTTP/1.", 7) && memcmp(line + 8, " 200", 4)) lose(s);
    } else if (length >= 12 && !memcmp(line, "event: price", 12)) {
        s->is_price = 1;
    } else if (length >= 5 && !memcmp(line, "data:", 5) && (found = memmem(line, length, STAMP, sizeof STAMP - 1))) {
        s->stamp = strtoll(found + sizeof STAMP - 1, NULL, 10);
    }
}

static void receive(struct subscriber *s) {
    ssize_t count = recv(s->fd, s->line + s->length, MAX_LINE - s->length, 0);
    char *start = s->line, *end = s->line + s->length + count, *stop;
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) lose(s);
        return;
    }
    for (; s->fd >= 0 && (stop = memchr(start, '\n', end - start)); start = stop + 1)
        understand(s, start, stop - start - (stop > start && stop[-1] == '\r'));
    s->length = end - start;
    memmove(s->line, start, s->length);
    if (s->length == MAX_LINE && s->fd >= 0) lose(s);
}

static int by_delay(const void *one, const void *other) {
    int64_t a = ((const struct push *)one)->delay_us, b = ((const struct push *)other)->delay_us;
    return (a > b) - (a < b);
}

static double delay_ms(double share) {
    return pushed ? pushes[(int)((pushed - 1) * share + 0.5)].delay_us / 1e3 : 0;
}

static void tell(int is_quiet) {
    long lost = 0;
    /* A push that is still under way has neither a last subscriber nor lost ones. */
    if (!is_quiet && pushed > 1) pushed--;
    double lasted = (now(CLOCK_MONOTONIC) - began_us) / 1e6;
    for (int i = 0; i < pushed; i++) lost += connections - silent - pushes[i].count;
    qsort(pushes, pushed, sizeof *pushes, by_delay);
    printf("measured {\"subscribers\": %d, \"seconds\": %.6f, \"events\": %ld, \"pushes\": %d, \"lost\": %ld, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"slowest_ms\": %.3f, \"errors\": %ld}\n",
           connections, lasted, events, pushed, lost, delay_ms(0.5), delay_ms(0.99), delay_ms(1), errors);
}

/* Do what was asked for, if this is a moment for it. */
static void obey(void) {
    int64_t at = now(CLOCK_MONOTONIC);
    int is_quiet = at - last_event_us >= QUIET_US;
    if (!is_quiet && at - asked_us < MOST_QUIET_US) return;
    begun = asked == BEGIN;
    asked = 0;
    if (!begun) {
        tell(is_quiet);
        return;
    }
    events = pushed = 0;
    before = newest;
    began_us = at;
    printf("begun\n");
}

static void hear(void) {
    char words[64];
    if (read(0, words, sizeof words) <= 0) exit(0);
    asked = words[0];
    asked_us = now(CLOCK_MONOTONIC);
}

static void turn(void) {
    struct epoll_event ready[MAX_EVENTS];
    int count = epoll_wait(queue, ready, MAX_EVENTS, TURN_MS);
    for (int i = 0; i < count; i++) {
        struct subscriber *s = ready[i].data.ptr;
        if (!s) hear();
        else if (!s->asked && ready[i].events & EPOLLOUT) ask(s);
        else if (s->fd >= 0) receive(s);
    }
    if (asked) obey();
}

int main(int count, char **words) {
    struct epoll_event wanted = {.events = EPOLLIN};
    FILE *file = count == 6 ? fopen(words[2], "rb") : NULL;
    if (!file) return 2;
    request_length = fread(request, 1, sizeof request, file);
    connections = atoi(words[3]);
    silent = atoi(words[5]);
    server.sin_port = htons(atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    queue = epoll_create1(0);
    epoll_ctl(queue, EPOLL_CTL_ADD, 0, &wanted);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct subscriber *all = calloc(connections, sizeof *all);
    int64_t start = now(CLOCK_MONOTONIC), at = start, rate = atoi(words[4]);
    while (opened < connections || (serving + errors < connections - silent && at - start < PATIENCE_US)) {
        for (; opened < connections && opened <= (at - start) * rate / 1000000; opened++) {
            all[opened].silent = (opened + 1L) * silent / connections > (long)opened * silent / connections;
            enter(&all[opened]);
        }
        turn();
        at = now(CLOCK_MONOTONIC);
    }
    printf("ready\n");
    for (;;) turn();
}
