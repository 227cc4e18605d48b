/* floor PORT EVENT MARK INTERVAL: send the event in the file EVENT to every client, each INTERVAL seconds, one write
 * for each of them. MARK stands in the event for the time in ms. What it costs is what the kernel costs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_EVENT = 4096, MAX_FILES = 1 << 16, MAX_EVENTS = 512, BACKLOG = 4096, MAX_REQUEST = 4096 };

static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n";
static char event[MAX_EVENT + 1], subscribed[MAX_FILES];
static size_t length;
static int highest;

static int64_t now_ms(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

static int listen_at(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, BACKLOG)) {
        perror("floor");
        exit(1);
    }
    return fd;
}

static void watch(int epoll, int fd) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted);
}

static void leave(int fd) {
    subscribed[fd] = 0;
    close(fd);
}

/* The first bytes of a client are its request; later ones are ignored. */
static void receive(int fd) {
    static char request[MAX_REQUEST];
    if (read(fd, request, sizeof request) <= 0) {
        leave(fd);
    } else if (!subscribed[fd] && write(fd, head, sizeof head - 1) > 0) {
        subscribed[fd] = 1;
        if (fd > highest) highest = fd;
    }
}

static void push(const char *mark) {
    char stamp[24], made[MAX_EVENT + 1];
    size_t digits = strlen(mark);
    snprintf(stamp, sizeof stamp, "%lld", (long long)now_ms(CLOCK_REALTIME));
    memcpy(made, event, length + 1);
    for (char *at = made; (at = strstr(at, mark)); at += digits) memcpy(at, stamp, digits);
    for (int fd = 0; fd <= highest; fd++)
        if (subscribed[fd] && write(fd, made, length) < 0 && errno != EAGAIN) leave(fd);
}

int main(int count, char **words) {
    struct epoll_event events[MAX_EVENTS];
    FILE *file = count == 5 ? fopen(words[2], "rb") : NULL;
    if (!file) return 2;
    length = fread(event, 1, MAX_EVENT, file);
    signal(SIGPIPE, SIG_IGN);
    int64_t interval = atof(words[4]) * 1000, due = now_ms(CLOCK_MONOTONIC) + interval;
    int listener = listen_at(atoi(words[1])), epoll = epoll_create1(0), on = 1;
    watch(epoll, listener);
    for (;;) {
        int64_t left = due - now_ms(CLOCK_MONOTONIC);
        int ready = epoll_wait(epoll, events, MAX_EVENTS, left > 0 ? left : 0);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                receive(fd);
                continue;
            }
            for (int client; (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; watch(epoll, client))
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        if (now_ms(CLOCK_MONOTONIC) < due) continue;
        push(words[3]);
        due += interval;
    }
}
