/* Look-ups of names (getaddrinfo) with the answers of a test. The file that $SHIM_NAMES names has a line for each name:
 *
 *     NAME ADDRESS...     these addresses
 *     NAME fail           there is no such name
 *     NAME hang           no answer until the line is changed or removed
 *
 * All other names are looked up as usual. Every look-up reads the file, so that a test may rewrite it at any time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*look_up)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* The answer in the line of the name; 0 if the file has no such line. */
static int said_of(const char *name, char *said, size_t size) {
    const char *path = getenv("SHIM_NAMES");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    size_t length = strlen(name);
    int found = 0;
    while (!found && fgets(said, (int)size, file)) {
        said[strcspn(said, "\n")] = 0;
        found = strncmp(said, name, length) == 0 && said[length] == ' ';
    }
    fclose(file);
    if (found)
        memmove(said, said + length + 1, strlen(said + length + 1) + 1);
    return found;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    static look_up real;
    if (!real)
        real = (look_up)dlsym(RTLD_NEXT, "getaddrinfo");
    char said[1024];
    if (!name || !said_of(name, said, sizeof said))
        return real(name, port, hints, found);
    while (strcmp(said, "hang") == 0) {
        usleep(20000);
        if (!said_of(name, said, sizeof said))
            return EAI_AGAIN;
    }
    if (strcmp(said, "fail") == 0)
        return EAI_NONAME;
    struct addrinfo **end = found;
    *found = NULL;
    char *rest = NULL;
    for (char *address = strtok_r(said, " ", &rest); address; address = strtok_r(NULL, " ", &rest)) {
        if (real(address, port, hints, end) != 0)
            return EAI_NONAME;
        while (*end)
            end = &(*end)->ai_next;
    }
    return *found ? 0 : EAI_NONAME;
}
