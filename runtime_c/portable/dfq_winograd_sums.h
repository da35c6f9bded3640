/* SPDX-License-Identifier: MIT-0 */
/* The products of Winograd's algorithm: sums over input channels at each position, of two tiles and four output
 * channels.
 *
 *   columns  [positions][in_channels / 4][9]: four channels of both tiles, and what comes next: 0 another four channels of
 *            the same position, 1 another position, -1 nothing
 *   weight   [positions][in_channels][4]
 *   sums     [positions][2][4], modulo 2^32
 *
 * On Thumb and RISC-V in assembly, since compilers spill the eight sums: 13 instructions for eight products with
 * Thumb-2, 22 on RISC-V, and with the eight registers of Thumb-1 seven for two.
 */
#ifndef DFQ_WINOGRAD_SUMS_H
#define DFQ_WINOGRAD_SUMS_H

#include "dfq_winograd.h"

#define DFQ_WINOGRAD_GROUP_WORDS 9

#if defined(__GNUC__) && defined(__thumb__)
#if defined(__clang__)
#define DFQ_WINOGRAD_NAKED static DFQ_UNUSED __attribute__((naked, noinline))
#else
#define DFQ_WINOGRAD_NAKED static DFQ_UNUSED __attribute__((naked, noinline, noipa))
#endif
#endif

/* clang-format off */
#if defined(__GNUC__) && defined(__thumb2__)

/* r0 columns, r1 weight, on the stack where sums go; r4-r7 (r8-r11) sums of the first (second) tile. */
#define DFQ_WINOGRAD_STEP(load, op, a)                                    \
    load                                                                  \
    "ldrsh r12, [r1], #2\n"                                               \
    op " r4, r2, r12" a("r4")                                             \
    op " r8, r3, r12" a("r8")                                             \
    "ldrsh r12, [r1], #2\n"                                               \
    op " r5, r2, r12" a("r5")                                             \
    op " r9, r3, r12" a("r9")                                             \
    "ldrsh r12, [r1], #2\n"                                               \
    op " r6, r2, r12" a("r6")                                             \
    op " r10, r3, r12" a("r10")                                           \
    "ldrsh r12, [r1], #2\n"                                               \
    op " r7, r2, r12" a("r7")                                             \
    op " r11, r3, r12" a("r11")
#define DFQ_WINOGRAD_ADD(a) ", " a "\n"
#define DFQ_WINOGRAD_SET(a) "\n"
#define DFQ_WINOGRAD_PAIR "ldm r0!, {r2, r3}\n"
#define DFQ_WINOGRAD_MARK "ldm r0!, {r2, r3, r12}\n" "cmp r12, #0\n"
#define DFQ_WINOGRAD_NEXT DFQ_WINOGRAD_STEP(DFQ_WINOGRAD_PAIR, "mla", DFQ_WINOGRAD_ADD)
#define DFQ_WINOGRAD_REST                                                 \
    DFQ_WINOGRAD_NEXT                                                     \
    DFQ_WINOGRAD_NEXT                                                     \
    DFQ_WINOGRAD_STEP(DFQ_WINOGRAD_MARK, "mla", DFQ_WINOGRAD_ADD)

DFQ_WINOGRAD_NAKED void dfq_winograd_sums(const dfq_word_t *columns DFQ_UNUSED, const DFQ_FLASH int16_t *weight DFQ_UNUSED,
                                          dfq_word_t *sums DFQ_UNUSED)
{
    __asm__ volatile(
        "push {r2, r4-r11, lr}\n"
        "1:\n"
        DFQ_WINOGRAD_STEP(DFQ_WINOGRAD_PAIR, "mul", DFQ_WINOGRAD_SET)
        DFQ_WINOGRAD_REST
        "bne 3f\n"
        "2:\n"
        DFQ_WINOGRAD_NEXT
        DFQ_WINOGRAD_REST
        "beq 2b\n"
        "3:\n"
        "ldr r2, [sp]\n"
        "stm r2!, {r4-r11}\n"
        "str r2, [sp]\n"
        "bgt 1b\n"
        "pop {r2, r4-r11, pc}\n");
}

#elif defined(__GNUC__) && defined(__thumb__)

/* r0 columns, r1 weight, r6 and r7 sums of the two tiles; in r12 where sums go. One output channel. */
#define DFQ_WINOGRAD_STEP                                                 \
    "ldm r0!, {r4, r5}\n"                                                 \
    "ldrsh r3, [r1, r2]\n"                                                \
    "adds r1, #8\n"                                                       \
    "muls r4, r3\n"                                                       \
    "muls r5, r3\n"                                                       \
    "adds r6, r6, r4\n"                                                   \
    "adds r7, r7, r5\n"

DFQ_WINOGRAD_NAKED void dfq_winograd_channel(const dfq_word_t *columns DFQ_UNUSED, const DFQ_FLASH int16_t *weight DFQ_UNUSED,
                                             dfq_word_t *sums DFQ_UNUSED)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r12, r2\n"
        "movs r2, #0\n"
        "1:\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "2:\n"
        DFQ_WINOGRAD_STEP
        DFQ_WINOGRAD_STEP
        DFQ_WINOGRAD_STEP
        DFQ_WINOGRAD_STEP
        "ldm r0!, {r4}\n"
        "cmp r4, #0\n"
        "beq 2b\n"
        "mov r3, r12\n"
        "str r6, [r3]\n"
        "str r7, [r3, #16]\n"
        "adds r3, #32\n"
        "mov r12, r3\n"
        "cmp r4, #0\n"
        "bgt 1b\n"
        "pop {r4-r7, pc}\n");
}

DFQ_SHARED void dfq_winograd_sums(const dfq_word_t *columns, const DFQ_FLASH int16_t *weight, dfq_word_t *sums)
{
    for (int32_t c = 0; c < 4; c++) {
        dfq_winograd_channel(columns, weight + c, sums + c);
    }
}

#else
/* clang-format on */

#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && defined(__riscv_mul)
/* Four channels; compilers keep some of the sums in memory, though there are registers. */
#define DFQ_WINOGRAD_ROW(offset, first, second)                   \
    "lh %[q], " offset "(%[w])\n\t"                               \
    "mul %[t], %[x0], %[q]\n\tadd " first ", " first ", %[t]\n\t" \
    "mul %[t], %[x1], %[q]\n\tadd " second ", " second ", %[t]\n\t"
#define DFQ_WINOGRAD_CHANNEL(x, w0, w1, w2, w3)                                                   \
    "lw %[x0], " x "(%[c])\n\tlw %[x1], 4+" x "(%[c])\n\t" DFQ_WINOGRAD_ROW(w0, "%[a0]", "%[b0]") \
        DFQ_WINOGRAD_ROW(w1, "%[a1]", "%[b1]") DFQ_WINOGRAD_ROW(w2, "%[a2]", "%[b2]")             \
            DFQ_WINOGRAD_ROW(w3, "%[a3]", "%[b3]")
#define DFQ_WINOGRAD_GROUP                           \
    DFQ_WINOGRAD_CHANNEL("0", "0", "2", "4", "6")    \
    DFQ_WINOGRAD_CHANNEL("8", "8", "10", "12", "14") \
    DFQ_WINOGRAD_CHANNEL("16", "16", "18", "20", "22") DFQ_WINOGRAD_CHANNEL("24", "24", "26", "28", "30")
#endif

DFQ_SHARED void dfq_winograd_sums(const dfq_word_t *columns, const DFQ_FLASH int16_t *weight, dfq_word_t *sums)
{
    dfq_word_t mark;
    do {
        uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
        do {
#if defined(DFQ_WINOGRAD_GROUP)
            uint32_t x0, x1, q, t;
            __asm__ volatile(DFQ_WINOGRAD_GROUP
                             : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [b0] "+r"(b0), [b1] "+r"(b1),
                               [b2] "+r"(b2), [b3] "+r"(b3), [x0] "=&r"(x0), [x1] "=&r"(x1), [q] "=&r"(q), [t] "=&r"(t)
                             : [c] "r"(columns), [w] "r"(weight)
                             : "memory");
            columns += 8;
            weight += 16;
#else
            for (int32_t c = 0; c < 4; c++, columns += 2, weight += 4) {
                const int32_t x0 = (int32_t)columns[0], x1 = (int32_t)columns[1];
                const int32_t w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
                a0 += (uint32_t)(x0 * w0);
                a1 += (uint32_t)(x0 * w1);
                a2 += (uint32_t)(x0 * w2);
                a3 += (uint32_t)(x0 * w3);
                b0 += (uint32_t)(x1 * w0);
                b1 += (uint32_t)(x1 * w1);
                b2 += (uint32_t)(x1 * w2);
                b3 += (uint32_t)(x1 * w3);
            }
#endif
            mark = *columns++;
        } while (mark == 0);
        sums[0] = a0;
        sums[1] = a1;
        sums[2] = a2;
        sums[3] = a3;
        sums[4] = b0;
        sums[5] = b1;
        sums[6] = b2;
        sums[7] = b3;
        sums += DFQ_WINOGRAD_SUMS;
    } while (mark == 1);
}

#endif
/* clang-format on */

#endif
