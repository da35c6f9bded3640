/* SPDX-License-Identifier: MIT-0 */
/* What dfq_board.h promises, as far as it is the same on every board; the rest is in start_<board>.c. */
#include "dfq_start.h"

#include <stddef.h>
#include <string.h>

/* The linker script's; addresses, not objects. */
extern char dfq_data_start[], dfq_data_end[], dfq_data_load[];
extern char dfq_bss_start[], dfq_bss_end[];

#define STACK_PAINT 0xC0DEC0DEu

/* -- Semihosting ------------------------------------------------------------------------------------------ */

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };

void dfq_print(const char *text)
{
    dfq_semihost(SYS_WRITE0, text);
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
    const uint32_t block[2] = { 0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)status };
    dfq_semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

void dfq_report_fault(uint32_t exception, uint32_t address, uint32_t status)
{
    dfq_print("dfq fault ");
    dfq_print_hex(exception);
    dfq_print(" ");
    dfq_print_hex(address);
    dfq_print(" ");
    dfq_print_hex(status);
    dfq_print("\n");
    dfq_exit(3);
}

/* -- Memory ----------------------------------------------------------------------------------------------- */

void dfq_prepare_memory(const uint32_t *stack_pointer)
{
    uint32_t *paint = dfq_stack_bottom;
    while (paint < stack_pointer - 16) { /* not what this function itself uses */
        *paint++ = STACK_PAINT;
    }
    memcpy(dfq_data_start, dfq_data_load, (size_t)(dfq_data_end - dfq_data_start));
    memset(dfq_bss_start, 0, (size_t)(dfq_bss_end - dfq_bss_start));
}

uint32_t dfq_stack_used(void)
{
    const uint32_t *at = dfq_stack_bottom;
    while (at < dfq_stack_top && *at == STACK_PAINT) {
        at++;
    }
    return (uint32_t)((const char *)dfq_stack_top - (const char *)at);
}
