/* SPDX-License-Identifier: MIT-0 */
/* From reset to main on RV32 in machine mode; ticks are the instructions that minstret counts. */
#include "dfq_start.h"

void dfq_start(void) __attribute__((noreturn, used));
void dfq_on_trap(void) __attribute__((noreturn, used));

static uint32_t trap_stack[128] __attribute__((used, aligned(16)));

/* Zicsr and privileged instructions are the assembler's only, so that the C needs no flag for them. */
#define READ_CSR(name, value) \
    __asm__ volatile(".option push\n\t.option arch, +zicsr\n\tcsrr %0, " name "\n\t.option pop" : "=r"(value))

void dfq_semihost(uint32_t operation, const void *argument)
{
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* The three instructions that tell the emulator: uncompressed, within one page. */
    __asm__ volatile(".balign 16\n\t"
                     ".option push\n\t"
                     ".option norvc\n\t"
                     "slli zero, zero, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai zero, zero, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
}

uint64_t dfq_ticks(void)
{
    uint32_t high, low, again;
    do { /* again if the low half wrapped in between */
        READ_CSR("minstreth", high);
        READ_CSR("minstret", low);
        READ_CSR("minstreth", again);
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

void dfq_on_trap(void)
{
    uint32_t cause, address, value;
    READ_CSR("mcause", cause);
    READ_CSR("mepc", address);
    READ_CSR("mtval", value);
    dfq_report_fault(cause, address, value);
}

void dfq_start(void)
{
    const uint32_t *stack_pointer;
    __asm__ volatile("mv %0, sp" : "=r"(stack_pointer));
    dfq_prepare_memory(stack_pointer);
    dfq_exit(main());
}

/* Sets stack and traps. A locked PMP entry takes the page below the stack away, so that an overflow faults:
 * NAPOT of 4 KB, no permissions. */
__asm__(".section .vectors, \"ax\"\n"
        ".option push\n"
        ".option arch, +zicsr\n"
        ".globl dfq_reset\n"
        ".type dfq_reset, @function\n"
        "dfq_reset:\n"
        "    la sp, dfq_stack_top\n"
        "    la t0, 1f\n"
        "    csrw mtvec, t0\n"
        "    la t0, dfq_stack_bottom - 4096\n"
        "    srli t0, t0, 2\n"
        "    ori t0, t0, 511\n"
        "    csrw pmpaddr0, t0\n"
        "    li t0, 0x98\n"
        "    csrw pmpcfg0, t0\n"
        "    j dfq_start\n"
        "    .balign 4\n"
        "1:  la sp, trap_stack + 512\n"
        "    j dfq_on_trap\n"
        ".option pop\n"
        ".text\n");
