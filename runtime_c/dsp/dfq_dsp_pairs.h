/* SPDX-License-Identifier: MIT-0 */
/* Vertical pairs: rows of an HWC int8 image as words of two int16, one above the other.
 *
 * For each channel and column, scratch holds two words side by side, A and B; each is the pair of one channel's
 * pixels in two rows (first row in the bottom half). A channel's columns are contiguous, then comes the next channel.
 */
#ifndef DFQ_DSP_PAIRS_H
#define DFQ_DSP_PAIRS_H

#include "dfq_dsp.h"

/* A row of the image, or of padding: then one constant word that is read again and again. */
typedef struct {
    const int8_t *x;
    int32_t step; /* bytes from pixel to pixel */
} dfq_dsp_row_t;

/* Row iy of an image of `height` rows and `width` pixels. `padding` is that word. */
DFQ_INLINE dfq_dsp_row_t dfq_dsp_row(const int8_t *x, int32_t iy, int32_t height, int32_t width, int32_t channels,
                                     const uint32_t *padding)
{
    const bool inside = iy >= 0 && iy < height;
    const dfq_dsp_row_t row = {
        inside ? x + iy * width * channels : (const int8_t *)(const void *)padding,
        inside ? channels : 0,
    };
    return row;
}

/* The same row from channel c on. */
DFQ_INLINE dfq_dsp_row_t dfq_dsp_row_from(dfq_dsp_row_t row, int32_t c)
{
    row.x += row.step != 0 ? c : 0;
    return row;
}

/* Make vertical pairs of two rows: what the assembly reads, in this order. */
typedef struct {
    const int8_t *above, *below;
    int32_t above_step, below_step; /* bytes from pixel to pixel */
    int32_t above_next, below_next; /* bytes from the end of a row to the next four channels' first pixel */
    int32_t plane;                  /* bytes of scratch from channel to channel */
    int32_t next;                   /* from the end of a channel's columns to the fourth next channel's */
    int32_t bytes;                  /* of scratch that the columns of a channel span, not 0 */
    int32_t groups;                 /* of four channels, not 0 */
} dfq_dsp_pair_args_t;

DFQ_INLINE dfq_dsp_pair_args_t dfq_dsp_pair_rows_args(dfq_dsp_row_t above, dfq_dsp_row_t below, int32_t count,
                                                      int32_t columns, int32_t groups)
{
    const dfq_dsp_pair_args_t args = {
        .above = above.x,
        .below = below.x,
        .above_step = above.step,
        .below_step = below.step,
        .above_next = above.step != 0 ? 4 - count * above.step : 0,
        .below_next = below.step != 0 ? 4 - count * below.step : 0,
        .plane = 8 * columns,
        .next = 8 * (4 * columns - count),
        .bytes = 8 * count,
        .groups = groups,
    };
    return args;
}

#if DFQ_DSP_ASM

/* clang-format off */
/* r0, r1 rows, r2, r3 their steps, r4-r7 the four channels' columns. Frame: above_next, below_next 0, plane 8,
 * next 12, bytes 16, groups 20. */
DFQ_DSP_NAKED void dfq_dsp_pair_rows(dfq_word_t *to DFQ_UNUSED, const dfq_dsp_pair_args_t *args DFQ_UNUSED)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "mov r4, r0\n"
        "ldm r1, {r0-r3, r5-r10}\n"
        "push {r5-r10}\n"
        "1:\n"
        "ldr.w r8, [sp, #8]\n"
        "ldr.w lr, [sp, #16]\n"
        "add r5, r4, r8\n"
        "add r6, r5, r8\n"
        "add r7, r6, r8\n"
        "add lr, lr, r4\n"
        "2:\n"
        "ldr.w r8, [r0]\n"
        "ldr.w r9, [r1]\n"
        "add r0, r0, r2\n"
        "add r1, r1, r3\n"
        "sxtb16 r10, r8\n"
        "sxtb16 r11, r9\n"
        "sxtb16 r8, r8, ror #8\n"
        "sxtb16 r9, r9, ror #8\n"
        "pkhbt r12, r10, r11, lsl #16\n"
        "pkhtb r11, r11, r10, asr #16\n"
        "pkhbt r10, r8, r9, lsl #16\n"
        "pkhtb r9, r9, r8, asr #16\n"
        "str r12, [r4], #8\n"
        "str r10, [r5], #8\n"
        "str r11, [r6], #8\n"
        "str r9, [r7], #8\n"
        "cmp r4, lr\n"
        "bne 2b\n"
        "ldrd r8, r9, [sp]\n"
        "ldr.w r10, [sp, #12]\n"
        "ldr.w r11, [sp, #20]\n"
        "add r0, r0, r8\n"
        "add r1, r1, r9\n"
        "add r4, r4, r10\n"
        "subs r11, r11, #1\n"
        "str.w r11, [sp, #20]\n"
        "bne 1b\n"
        "add sp, sp, #24\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

DFQ_INLINE void dfq_dsp_pair_rows(dfq_word_t *to, const dfq_dsp_pair_args_t *args)
{
    const int8_t *above = args->above;
    const int8_t *below = args->below;
    const int32_t plane = args->plane / 4;
    for (int32_t group = 0; group < args->groups; group++) {
        for (const dfq_word_t *end = to + args->bytes / 4; to != end; to += 2) {
            const uint32_t a = dfq_dsp_load(above);
            const uint32_t b = dfq_dsp_load(below);
            to[0] = dfq_dsp_bottoms(dfq_dsp_widen_even(a), dfq_dsp_widen_even(b));
            to[plane] = dfq_dsp_bottoms(dfq_dsp_widen_odd(a), dfq_dsp_widen_odd(b));
            to[2 * plane] = dfq_dsp_tops(dfq_dsp_widen_even(a), dfq_dsp_widen_even(b));
            to[3 * plane] = dfq_dsp_tops(dfq_dsp_widen_odd(a), dfq_dsp_widen_odd(b));
            above += args->above_step;
            below += args->below_step;
        }
        above += args->above_next;
        below += args->below_next;
        to += args->next / 4;
    }
}

#endif

/* The pairs of the last one to three channels. */
DFQ_DSP_RARE void dfq_dsp_pair_rows_partial(dfq_word_t *to, int32_t plane, dfq_dsp_row_t above, dfq_dsp_row_t below,
                                            int32_t count, int32_t lanes)
{
    for (int32_t i = 0; i < count; i++, to += 2) {
        for (int32_t c = 0; c < lanes; c++) {
            const int32_t a = above.x[c], b = below.x[c];
            to[c * plane] = ((uint32_t)a & 0xFFFFu) | (uint32_t)b << 16;
        }
        above.x += above.step;
        below.x += below.step;
    }
}

/* Make vertical pairs of two rows of four channels, and a third row's pixels as the bottoms of B: what the assembly
 * reads, in this order. */
typedef struct {
    const int8_t *above;
    int32_t row;   /* bytes from row to row */
    int32_t step;  /* from pixel to pixel */
    int32_t plane; /* of scratch from channel to channel */
    int32_t bytes; /* of scratch that the columns of a channel span, not 0 */
} dfq_dsp_three_args_t;

#if DFQ_DSP_ASM

/* clang-format off */
/* r0 rows, r1 and r2 bytes to the second and third, r3 step, r4-r7 the four channels' columns. */
DFQ_DSP_NAKED void dfq_dsp_pair_three_rows(dfq_word_t *to DFQ_UNUSED, const dfq_dsp_three_args_t *args DFQ_UNUSED)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "mov r4, r0\n"
        "ldm r1, {r0, r1, r3, r5, r6}\n"
        "add r12, r4, r6\n"
        "mov r8, r5\n"
        "push {r12}\n"
        "add r2, r1, r1\n"
        "add r5, r4, r8\n"
        "add r6, r5, r8\n"
        "add r7, r6, r8\n"
        "2:\n"
        "ldr.w r8, [r0]\n"
        "ldr.w r9, [r0, r1]\n"
        "ldr.w r10, [r0, r2]\n"
        "add r0, r0, r3\n"
        "sxtb16 r11, r8\n"
        "sxtb16 r12, r9\n"
        "pkhtb lr, r12, r11, asr #16\n"
        "pkhbt r11, r11, r12, lsl #16\n"
        "sxtb16 r12, r10\n"
        "strd r11, r12, [r4], #8\n"
        "lsr r12, r12, #16\n"
        "strd lr, r12, [r6], #8\n"
        "sxtb16 r8, r8, ror #8\n"
        "sxtb16 r9, r9, ror #8\n"
        "sxtb16 r10, r10, ror #8\n"
        "pkhtb lr, r9, r8, asr #16\n"
        "pkhbt r8, r8, r9, lsl #16\n"
        "strd r8, r10, [r5], #8\n"
        "lsr r10, r10, #16\n"
        "strd lr, r10, [r7], #8\n"
        "ldr.w lr, [sp]\n"
        "cmp r4, lr\n"
        "bne 2b\n"
        "add sp, sp, #4\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

DFQ_INLINE void dfq_dsp_pair_three_rows(dfq_word_t *to, const dfq_dsp_three_args_t *args)
{
    const int32_t plane = args->plane / 4;
    const int8_t *above = args->above;
    for (const dfq_word_t *end = to + args->bytes / 4; to != end; to += 2, above += args->step) {
        const uint32_t a = dfq_dsp_load(above);
        const uint32_t b = dfq_dsp_load(above + args->row);
        const uint32_t c = dfq_dsp_load(above + 2 * args->row);
        to[0] = dfq_dsp_bottoms(dfq_dsp_widen_even(a), dfq_dsp_widen_even(b));
        to[1] = dfq_dsp_widen_even(c);
        to[plane] = dfq_dsp_bottoms(dfq_dsp_widen_odd(a), dfq_dsp_widen_odd(b));
        to[plane + 1] = dfq_dsp_widen_odd(c);
        to[2 * plane] = dfq_dsp_tops(dfq_dsp_widen_even(a), dfq_dsp_widen_even(b));
        to[2 * plane + 1] = dfq_dsp_widen_even(c) >> 16;
        to[3 * plane] = dfq_dsp_tops(dfq_dsp_widen_odd(a), dfq_dsp_widen_odd(b));
        to[3 * plane + 1] = dfq_dsp_widen_odd(c) >> 16;
    }
}

#endif

#endif
