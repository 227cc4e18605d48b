/* asker PORT FILE EVERY_MS SECONDS: ask PORT with the request in FILE so often, on one kept connection.
 *
 * A request takes from its sending to the moment when the kernel got the answer, which it notes on each packet: so a
 * busy reader on the same core cannot make the server look slow. The result is one line of JSON, as that of
 * bench/wrk.lua. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUEST = 4096, MAX_ANSWER = 65536, MAX_REQUESTS = 1 << 20, PATIENCE_SECONDS = 10 };

static char request[MAX_REQUEST], answer[MAX_ANSWER];
static size_t request_length;
static int64_t took[MAX_REQUESTS];

static int64_t micros(const struct timespec *at) { return at->tv_sec * 1000000LL + at->tv_nsec / 1000; }

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return micros(&at);
}

static int connected(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return connect(fd, (struct sockaddr *)&to, sizeof to) ? -1 : fd;
}

/* The time when an answer came, or 0 if none did. All that the service says of one price is one packet. */
static int64_t answered(int fd) {
    char control[256];
    struct iovec room = {.iov_base = answer, .iov_len = sizeof answer - 1};
    struct msghdr message = {
        .msg_iov = &room, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(fd, &message, 0);
    if (count <= 0) return 0;
    answer[count] = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        struct timespec at;
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
        memcpy(&at, CMSG_DATA(part), sizeof at);
        return micros(&at);
    }
    return now();
}

static int by_size(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static double percentile(int count, double share) { return count ? took[(int)((count - 1) * share + 0.5)] / 1e3 : 0; }

int main(int count, char **words) {
    FILE *file = count == 5 ? fopen(words[2], "rb") : NULL;
    if (!file) return 2;
    request_length = fread(request, 1, sizeof request, file);
    int64_t every = atof(words[3]) * 1000, start = now(), end = start + atoi(words[4]) * 1000000LL;
    int64_t due = start, got = 0;
    int fd = connected(atoi(words[1])), requests = 0, failed = fd < 0, not_2xx = 0;
    for (; !failed && due < end && requests < MAX_REQUESTS; due += every) {
        int64_t early = due - now(), sent;
        if (early > 0) usleep(early);
        /* What the answer before it held up has waited since it was due. */
        sent = got > due ? due : now();
        failed = send(fd, request, request_length, MSG_NOSIGNAL) < 0 || !(got = answered(fd));
        if (failed) break;
        took[requests++] = got - sent;
        not_2xx += strncmp(answer, "HTTP/1.1 2", 10) != 0;
    }
    qsort(took, requests, sizeof *took, by_size);
    printf("measured {\"requests\": %d, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"slowest_ms\": %.3f, "
           "\"failed\": %d, \"not_2xx\": %d, \"opened\": 1}\n",
           requests, (now() - start) / 1e6, percentile(requests, 0.5), percentile(requests, 0.99),
           percentile(requests, 1), failed, not_2xx);
    return 0;
}
