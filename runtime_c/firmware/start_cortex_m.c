/* SPDX-License-Identifier: MIT-0 */
/* From reset to main on Armv6-M to Armv8.1-M; ticks by SysTick. */
#include "dfq_start.h"

#include <stddef.h>

void dfq_reset(void) __attribute__((noreturn));
void dfq_on_fault(const uint32_t *frame, uint32_t exception) __attribute__((noreturn, used));

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010u) /* SysTick control */
#define SYST_RVR REGISTER(0xE000E014u) /* reload value */
#define SYST_CVR REGISTER(0xE000E018u) /* current value, counts down */
#define SCB_CCR REGISTER(0xE000ED14u)
#define SCB_CFSR REGISTER(0xE000ED28u) /* why a fault was taken */
#define SCB_CPACR REGISTER(0xE000ED88u)

#define SYST_PERIOD 0x1000000u /* 24 bits */

void dfq_semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
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

/* -- Exceptions ------------------------------------------------------------------------------------------- */

void dfq_on_fault(const uint32_t *frame, uint32_t exception)
{
    /* A stack that ran out of its memory has no frame to look at. */
    const uint32_t address = frame >= dfq_stack_bottom && frame + 8 <= dfq_stack_top ? frame[6] : 0;
#if defined(__ARM_ARCH_6M__)
    dfq_report_fault(exception, address, 0);
#else
    dfq_report_fault(exception, address, SCB_CFSR);
#endif
}

static uint64_t fault_stack[64] __attribute__((used));

/* The processor pushed r0-r3, r12, lr, pc, xpsr: hand over where. Reporting uses a stack of its own. */
static void __attribute__((naked)) on_fault(void)
{
    __asm__ volatile("mrs r0, msp\n"
                     "mrs r1, ipsr\n"
                     "ldr r2, =fault_stack + 512\n"
                     "msr msp, r2\n"
                     "ldr r2, =dfq_on_fault\n"
                     "bx r2\n");
}

/* Loops are in other functions: the compiler may use Helium for them, which must be enabled first. */
void dfq_reset(void)
{
    const uint32_t *stack_pointer;
#if !defined(__ARM_ARCH_6M__)
    SCB_CPACR |= 0xFu << 20; /* coprocessors 10 and 11: floating point and Helium */
#endif
#if defined(__ARM_FEATURE_MVE)
    SCB_CCR |= 1u << 19; /* low-overhead branches */
#endif
    __asm__ volatile("dsb\n\tisb\n\tmov %0, sp" : "=r"(stack_pointer)::"memory");
    dfq_prepare_memory(stack_pointer);
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
        NULL,
        NULL,
        NULL,
        on_fault, /* supervisor call */
        on_fault, /* debug */
        NULL,
        on_fault, /* PendSV */
        on_systick,
    },
};
