/* SPDX-License-Identifier: MIT-0 */
/* Between start.c, which every board shares, and start_<board>.c, which knows the architecture. */
#ifndef DFQ_START_H
#define DFQ_START_H

#include "dfq_board.h"

/* The linker script's; addresses, not objects. */
extern uint32_t dfq_stack_bottom[], dfq_stack_top[];

int main(void);

/* The board's: a call to the emulator (Arm's semihosting, which RISC-V took over). */
void dfq_semihost(uint32_t operation, const void *argument);

/* Paints the free stack, fills .data and clears .bss. */
void dfq_prepare_memory(const uint32_t *stack_pointer);

/* Prints "dfq fault <exception> <address of the instruction, 0 unknown> <status>" and ends with status 3. */
void dfq_report_fault(uint32_t exception, uint32_t address, uint32_t status) __attribute__((noreturn));

#endif
