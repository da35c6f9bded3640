/* From reset to main on Armv6-M to Armv8.1-M, and what dfq_board.h promises. */
#include "dfq_board.h"

#include <stddef.h>
#include <string.h>

/* The linker script's; addresses, not objects. */
extern char dfq_data_start[], dfq_data_end[], dfq_data_load[];
extern char dfq_bss_start[], dfq_bss_end[];
extern uint32_t dfq_stack_bottom[], dfq_stack_top[];

int main(void);
void dfq_reset(void) __attribute__((noreturn));
void dfq_report_fault(const uint32_t *frame, uint32_t exception) __attribute__((noreturn, used));

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010u) /* SysTick control */
#define SYST_RVR REGISTER(0xE000E014u) /* reload value */
#define SYST_CVR REGISTER(0xE000E018u) /* current value, counts down */
#define SCB_CCR REGISTER(0xE000ED14u)
#define SCB_CFSR REGISTER(0xE000ED28u) /* why a fault was taken */
#define SCB_CPACR REGISTER(0xE000ED88u)

#define SYST_PERIOD 0x1000000u /* 24 bits */
#define STACK_PAINT 0xC0DEC0DEu

/* -- Semihosting ------------------------------------------------------------------------------------------ */

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };

static void semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void dfq_print(const char *text)
{
    semihost(SYS_WRITE0, text);
}

void dfq_print_hex(uint64_t value)
{
    char text[17];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    do {
        text[--at] = "0123456789abcdef"[value & 15u];
        value >>= 4;
    } while (value != 0);
    dfq_print(&text[at]);
}

void dfq_exit(int status)
{
    const uint32_t block[2] = {0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)status};
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

/* -- Instruction counter ---------------------------------------------------------------------------------- */

static volatile uint32_t periods;

static void on_systick(void)
{
    periods++;
}

static void start_ticks(void)
{
    SYST_RVR = SYST_PERIOD - 1;
    SYST_CVR = 0; /* any write clears it, and it reloads */
    SYST_CSR = 7; /* processor clock, interrupt at zero, enabled */
}

uint64_t dfq_ticks(void)
{
    uint32_t before, value;
    do { /* again if a period ended in between */
        before = periods;
        value = SYST_CVR;
    } while (before != periods);
    /* The interrupt comes as the value reaches 0, a tick before it reloads; it also is 0 to begin with. */
    return (uint64_t)before * SYST_PERIOD + ((SYST_PERIOD - value) & (SYST_PERIOD - 1));
}

/* -- Stack ------------------------------------------------------------------------------------------------ */

uint32_t dfq_stack_used(void)
{
    const uint32_t *at = dfq_stack_bottom;
    while (at < dfq_stack_top && *at == STACK_PAINT) {
        at++;
    }
    return (uint32_t)((const char *)dfq_stack_top - (const char *)at);
}

/* -- Exceptions ------------------------------------------------------------------------------------------- */

void dfq_report_fault(const uint32_t *frame, uint32_t exception)
{
    dfq_print("dfq fault ");
    dfq_print_hex(exception);
    dfq_print(" ");
    /* A stack that ran out of its memory has no frame to look at. */
    dfq_print_hex(frame >= dfq_stack_bottom && frame + 8 <= dfq_stack_top ? frame[6] : 0);
    dfq_print(" ");
#if defined(__ARM_ARCH_6M__)
    dfq_print_hex(0);
#else
    dfq_print_hex(SCB_CFSR);
#endif
    dfq_print("\n");
    dfq_exit(3);
}

static uint64_t fault_stack[64] __attribute__((used));

/* The processor pushed r0-r3, r12, lr, pc, xpsr: hand over where. Reporting uses a stack of its own. */
static void __attribute__((naked)) on_fault(void)
{
    __asm__ volatile("mrs r0, msp\n"
                     "mrs r1, ipsr\n"
                     "ldr r2, =fault_stack + 512\n"
                     "msr msp, r2\n"
                     "ldr r2, =dfq_report_fault\n"
                     "bx r2\n");
}

static void __attribute__((noinline)) prepare_memory(void)
{
    uint32_t *paint = dfq_stack_bottom;
    uint32_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    while ((uint32_t)paint < here - 64) { /* not what this function itself uses */
        *paint++ = STACK_PAINT;
    }
    memcpy(dfq_data_start, dfq_data_load, (size_t)(dfq_data_end - dfq_data_start));
    memset(dfq_bss_start, 0, (size_t)(dfq_bss_end - dfq_bss_start));
}

/* Loops are in other functions: the compiler may use Helium for them, which must be enabled first. */
void dfq_reset(void)
{
#if !defined(__ARM_ARCH_6M__)
    SCB_CPACR |= 0xFu << 20; /* coprocessors 10 and 11: floating point and Helium */
#endif
#if defined(__ARM_FEATURE_MVE)
    SCB_CCR |= 1u << 19; /* low-overhead branches */
#endif
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    prepare_memory();
    start_ticks();
    dfq_exit(main());
}

typedef void (*handler_t)(void);

struct vectors {
    uint32_t *stack_top;
    handler_t handlers[15];
};

__attribute__((used, section(".vectors"))) static const struct vectors vectors = {
    dfq_stack_top,
    {
        dfq_reset,
        on_fault, /* NMI */
        on_fault, /* hard fault */
        on_fault, /* memory management */
        on_fault, /* bus */
        on_fault, /* usage */
        on_fault, /* secure */
        NULL, NULL, NULL,
        on_fault, /* supervisor call */
        on_fault, /* debug */
        NULL,
        on_fault, /* PendSV */
        on_systick,
    },
};
