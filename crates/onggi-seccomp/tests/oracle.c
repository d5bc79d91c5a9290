// The judge of tests/oracle.rs: a profile on standard input becomes libseccomp's program on standard output.
//
//   default ACTION            first; actions are the kernel's numbers, seccomp(2)
//   arch TOKEN                AUDIT_ARCH of a further architecture, libseccomp's token
//   rule ACTION NAME [INDEX OP A B]...
//   name NAME                 answered by "NAME" on standard error where libseccomp does not know it
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t action(const char *text) {
    uint32_t value = strtoul(text, NULL, 0);
    return value == 0 ? SCMP_ACT_KILL_THREAD : value;
}

int main(void) {
    scmp_filter_ctx filter = NULL;
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *word = strtok(line, " \n");
        if (!word) continue;
        if (!strcmp(word, "default")) {
            filter = seccomp_init(action(strtok(NULL, " \n")));
            if (!filter) return 2;
        } else if (!strcmp(word, "arch")) {
            int failed = seccomp_arch_add(filter, strtoul(strtok(NULL, " \n"), NULL, 0));
            if (failed && failed != -EEXIST) return 3;
        } else if (!strcmp(word, "name")) {
            char *name = strtok(NULL, " \n");
            if (seccomp_syscall_resolve_name(name) == __NR_SCMP_ERROR) fprintf(stderr, "%s\n", name);
        } else if (!strcmp(word, "rule")) {
            uint32_t what = action(strtok(NULL, " \n"));
            char *name = strtok(NULL, " \n"), *index;
            struct scmp_arg_cmp tests[6];
            unsigned count = 0;
            while ((index = strtok(NULL, " \n"))) {
                tests[count].arg = strtoul(index, NULL, 0);
                tests[count].op = strtoul(strtok(NULL, " \n"), NULL, 0);
                tests[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
                tests[count++].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
            }
            int failed = seccomp_rule_add_array(filter, what, seccomp_syscall_resolve_name(name), count, tests);
            if (failed) fprintf(stderr, "! %s: %s\n", name, strerror(-failed));
        }
    }
    return filter ? (seccomp_export_bpf(filter, STDOUT_FILENO) ? 4 : 0) : 0;
}
