/* SPDX-License-Identifier: MIT-0 */
/* A bare Cortex-M board under QEMU: output, exit, an instruction counter, stack use.
 *
 * The emulator runs with `-icount shift=0`: every instruction takes 1 ns of virtual time, whatever it is.
 * SysTick counts that time, so instructions = ticks * (1e9 / SysTick frequency), to the resolution of one
 * tick (40 instructions at 25 MHz). Counts repeat exactly from run to run. They are not cycles.
 */
#ifndef DFQ_BOARD_H
#define DFQ_BOARD_H

#include <stdint.h>

/* To the emulator's console, through semihosting. */
void dfq_print(const char *text);
void dfq_print_hex(uint64_t value);

/* Ends the emulation; `status` becomes the exit status of the emulator. */
void dfq_exit(int status) __attribute__((noreturn));

/* SysTick ticks since reset. */
uint64_t dfq_ticks(void);

/* The most stack used since reset, in bytes. */
uint32_t dfq_stack_used(void);

#endif
