#ifndef CRICKET_PROBE_H
#define CRICKET_PROBE_H

// Prints what this process sees of itself and of `paths` as one line of JSON.
int report(int argc, char **argv, char **paths);
void put_network(void);

int calls(char **arguments);
int roots(void);

#endif
