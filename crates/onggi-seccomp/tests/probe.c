// Makes the system calls that its arguments name and prints the error number of each: "NUMBER[,ARGUMENT...]" in, one
// number a line out. With -m32 it is a 32-bit program and asks by int 0x80; then no C library is needed.
#ifdef __i386__
static long call(long number, const long *args) {
    long answer;
    __asm__ volatile("int $0x80"
                     : "=a"(answer)
                     : "a"(number), "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]), "D"(args[4])
                     : "memory");
    return answer;
}
#else
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
static long call(long number, const long *args) {
    long answer = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return answer < 0 ? -errno : answer;
}
#endif

#ifdef __i386__
#define WRITE 4
#define EXIT 1
#else
#define WRITE SYS_write
#define EXIT SYS_exit_group
#endif

static int run(int count, char **words) {
    for (int i = 1; i < count; i++) {
        unsigned long values[7] = {0};
        int at = 0;
        for (const char *c = words[i]; *c; c++) {
            if (*c == ',') at++;
            else values[at] = values[at] * 10 + (unsigned long)(*c - '0');
        }
        long answer = call((long)values[0], (const long *)values + 1), error = answer < 0 && answer > -4096 ? -answer : 0;
        char line[8] = "     \n";
        for (int digit = 4; digit >= 0 && (error || digit == 4); digit--, error /= 10) line[digit] = (char)('0' + error % 10);
        const long written[6] = {1, (long)line, 6};
        call(WRITE, written);
    }
    return 0;
}

#ifdef __i386__
void start(long *stack) {
    const long code[6] = {run((int)stack[0], (char **)(stack + 1))};
    call(EXIT, code);
}
__asm__(".globl _start\n_start: mov %esp, %eax; push %eax; call start\n");
#else
int main(int count, char **words) { return run(count, words); }
#endif
