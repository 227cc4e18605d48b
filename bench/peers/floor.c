/* floor PORT FILE [close]: answer whatever arrives at PORT with the bytes of FILE; with `close`, close the connection
 * after that. What it costs is what the kernel costs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ANSWER = 65536, MAX_EVENTS = 512, BACKLOG = 4096 };

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
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int count, char **words) {
    static char answer[MAX_ANSWER], request[MAX_ANSWER];
    struct epoll_event events[MAX_EVENTS];
    FILE *file = count >= 3 ? fopen(words[2], "rb") : NULL;
    int closes = count == 4;
    if (!file) return 2;
    size_t length = fread(answer, 1, sizeof answer, file);
    int listener = listen_at(atoi(words[1])), epoll = epoll_create1(0), on = 1;
    watch(epoll, listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                for (int client; (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; watch(epoll, client))
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            } else if (read(fd, request, sizeof request) <= 0 || write(fd, answer, length) < 0 || closes) {
                close(fd);
            }
        }
    }
}
