/* SPDX-License-Identifier: MIT-0 */
/* Depthwise 3x3 convolution with int16 activations, Arm DSP extension, stride 1 or 2, any padding: inputs and outputs
 * int8 or int16 each, weights of 2 to 8 bits.
 *
 * As the int8 kernel (dfq_depthwise3x3_s8s8_dsp.h), whose pairs of rows are int16 anyway. Inputs that are int16 need
 * no widening. Scratch and stream are the same; weights of fewer bits pass through scratch, as in
 * dfq_depthwise3x3_s8sn_dsp.h. `y` may overlap `x` as there. Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_DEPTHWISE3X3_S16SN_DSP_H
#define DFQ_DEPTHWISE3X3_S16SN_DSP_H

#include "../portable/dfq_wide_s16.h"
#include "dfq_depthwise3x3_s8sn_dsp.h"
#include "dfq_dsp_wide_clamp.h"

typedef struct {
    dfq_depthwise3x3_s8sn_dsp_t inner; /* `packed` and `factors` for fewer than 8 bits, else `stream` */
    int32_t in_wide, out_wide;
    int32_t narrow; /* 1: the bounds are not those of the type */
    dfq_wide_bounds_t bounds;
} dfq_depthwise3x3_s16sn_dsp_t;

#if DFQ_DSP_ASM

/* clang-format off */
DFQ_DSP_NAKED void dfq_dsp_depthwise_rows_16(const dfq_word_t *columns DFQ_UNUSED,
                                             const dfq_dsp_depthwise_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_ROWS("r2, r3", "16", "strh"));
}

DFQ_DSP_NAKED void dfq_dsp_depthwise_rows_16_swapped(const dfq_word_t *columns DFQ_UNUSED,
                                                     const dfq_dsp_depthwise_args_t *args DFQ_UNUSED,
                                                     int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_ROWS("r3, r2", "16", "strh"));
}

DFQ_DSP_NAKED void dfq_dsp_depthwise_16_stride2(const dfq_word_t *columns DFQ_UNUSED,
                                                const dfq_dsp_depthwise_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_STRIDE2("16", "strh"));
}

/* As dfq_dsp_pair_rows for rows of int16. */
DFQ_DSP_NAKED void dfq_dsp_pair_rows_16(dfq_word_t *to DFQ_UNUSED, const dfq_dsp_pair_args_t *args DFQ_UNUSED)
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
        "ldr.w r9, [r0, #4]\n"
        "ldr.w r10, [r1]\n"
        "ldr.w r11, [r1, #4]\n"
        "add r0, r0, r2\n"
        "add r1, r1, r3\n"
        "pkhbt r12, r8, r10, lsl #16\n"
        "str r12, [r4], #8\n"
        "pkhtb r10, r10, r8, asr #16\n"
        "str r10, [r5], #8\n"
        "pkhbt r12, r9, r11, lsl #16\n"
        "str r12, [r6], #8\n"
        "pkhtb r11, r11, r9, asr #16\n"
        "str r11, [r7], #8\n"
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

/* As dfq_dsp_pair_three_rows for rows of int16. */
DFQ_DSP_NAKED void dfq_dsp_pair_three_rows_16(dfq_word_t *to DFQ_UNUSED, const dfq_dsp_three_args_t *args DFQ_UNUSED)
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
        "sub r3, r3, #4\n"
        "2:\n"
        "ldr.w r8, [r0]\n"
        "ldr.w r9, [r0, r1]\n"
        "ldr.w r10, [r0, r2]\n"
        "add r0, r0, #4\n"
        "pkhbt r11, r8, r9, lsl #16\n"
        "pkhtb r12, r9, r8, asr #16\n"
        "strd r11, r10, [r4], #8\n"
        "lsr r10, r10, #16\n"
        "strd r12, r10, [r5], #8\n"
        "ldr.w r8, [r0]\n"
        "ldr.w r9, [r0, r1]\n"
        "ldr.w r10, [r0, r2]\n"
        "add r0, r0, r3\n"
        "pkhbt r11, r8, r9, lsl #16\n"
        "pkhtb r12, r9, r8, asr #16\n"
        "strd r11, r10, [r6], #8\n"
        "lsr r10, r10, #16\n"
        "strd r12, r10, [r7], #8\n"
        "ldr.w lr, [sp]\n"
        "cmp r4, lr\n"
        "bne 2b\n"
        "add sp, sp, #4\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

DFQ_INLINE void dfq_dsp_depthwise_rows_16(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args, int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 1, 0, true, 1);
}

DFQ_INLINE void dfq_dsp_depthwise_rows_16_swapped(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args,
                                                  int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 1, 1, true, 1);
}

DFQ_INLINE void dfq_dsp_depthwise_16_stride2(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args, int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 2, 0, false, 1);
}

DFQ_INLINE void dfq_dsp_pair_rows_16(dfq_word_t *to, const dfq_dsp_pair_args_t *args)
{
    const int8_t *above = args->above;
    const int8_t *below = args->below;
    const int32_t plane = args->plane / 4;
    for (int32_t group = 0; group < args->groups; group++) {
        for (const dfq_word_t *end = to + args->bytes / 4; to != end; to += 2) {
            for (int32_t i = 0; i < 2; i++) {
                const uint32_t a = dfq_dsp_load(above + 4 * i);
                const uint32_t b = dfq_dsp_load(below + 4 * i);
                to[2 * i * plane] = dfq_dsp_bottoms(a, b);
                to[(2 * i + 1) * plane] = dfq_dsp_tops(a, b);
            }
            above += args->above_step;
            below += args->below_step;
        }
        above += args->above_next;
        below += args->below_next;
        to += args->next / 4;
    }
}

DFQ_INLINE void dfq_dsp_pair_three_rows_16(dfq_word_t *to, const dfq_dsp_three_args_t *args)
{
    const int32_t plane = args->plane / 4;
    const int8_t *above = args->above;
    for (const dfq_word_t *end = to + args->bytes / 4; to != end; to += 2, above += args->step) {
        for (int32_t i = 0; i < 2; i++) {
            const uint32_t a = dfq_dsp_load(above + 4 * i);
            const uint32_t b = dfq_dsp_load(above + args->row + 4 * i);
            const uint32_t c = dfq_dsp_load(above + 2 * args->row + 4 * i);
            to[2 * i * plane] = dfq_dsp_bottoms(a, b);
            to[2 * i * plane + 1] = c;
            to[(2 * i + 1) * plane] = dfq_dsp_tops(a, b);
            to[(2 * i + 1) * plane + 1] = c >> 16;
        }
    }
}

#endif

/* The pairs of the last one to three channels. */
DFQ_DSP_RARE void dfq_dsp_pair_rows_16_partial(dfq_word_t *to, int32_t plane, dfq_dsp_row_t above, dfq_dsp_row_t below,
                                               int32_t count, int32_t lanes)
{
    for (int32_t i = 0; i < count; i++, to += 2) {
        for (int32_t c = 0; c < lanes; c++) {
            const int32_t a = dfq_load(above.x, 1, c), b = dfq_load(below.x, 1, c);
            to[c * plane] = ((uint32_t)a & 0xFFFFu) | (uint32_t)b << 16;
        }
        above.x += above.step;
        below.x += below.step;
    }
}

/* Row iy of the image from channel c on; `padding` is four inputs of it. */
DFQ_INLINE dfq_dsp_row_t dfq_dsp_wide_row(const dfq_depthwise3x3_s16sn_dsp_t *layer, const int8_t *x, int32_t iy,
                                          int32_t c, const uint32_t *padding)
{
    const dfq_depthwise3x3_s8s8_dsp_t *inner = &layer->inner.depthwise;
    const int32_t size = layer->in_wide ? 2 : 1;
    const bool inside = iy >= 0 && iy < inner->in_height;
    const dfq_dsp_row_t row = {
        inside ? x + size * (iy * inner->in_width * inner->channels + c) : (const int8_t *)(const void *)padding,
        inside ? size * inner->channels : 0,
    };
    return row;
}

/* `count` pixels of `channels` channels of two rows as pairs, `columns` of scratch a channel. */
DFQ_INLINE void dfq_dsp_wide_pair_rows(int32_t wide, dfq_word_t *to, dfq_dsp_row_t above, dfq_dsp_row_t below,
                                       int32_t count, int32_t columns, int32_t channels)
{
    const int32_t groups = channels / 4;
    const int32_t rest = channels % 4;
    const int32_t four = wide ? 8 : 4;
    if (groups != 0) {
        dfq_dsp_pair_args_t args = dfq_dsp_pair_rows_args(above, below, count, columns, groups);
        args.above_next = above.step != 0 ? four - count * above.step : 0;
        args.below_next = below.step != 0 ? four - count * below.step : 0;
        if (wide) {
            dfq_dsp_pair_rows_16(to, &args);
        } else {
            dfq_dsp_pair_rows(to, &args);
        }
    }
    if (rest != 0) {
        above.x += above.step != 0 ? groups * four : 0;
        below.x += below.step != 0 ? groups * four : 0;
        to += 8 * columns * groups;
        if (wide) {
            dfq_dsp_pair_rows_16_partial(to, 2 * columns, above, below, count, rest);
        } else {
            dfq_dsp_pair_rows_partial(to, 2 * columns, above, below, count, rest);
        }
    }
}

/* Two words of padding: four inputs. */
DFQ_INLINE uint32_t dfq_dsp_padding_word(int32_t wide, int32_t value)
{
    return wide ? ((uint32_t)value & 0xFFFFu) * 0x10001u : dfq_dsp_lanes(value);
}

DFQ_INLINE dfq_dsp_depthwise_args_t dfq_dsp_wide_depthwise_args(const dfq_depthwise3x3_s16sn_dsp_t *layer,
                                                                const dfq_depthwise3x3_s8s8_dsp_t *inner, int32_t first,
                                                                int32_t channels, int32_t columns, int32_t stride)
{
    dfq_dsp_depthwise_args_t args = dfq_dsp_depthwise_args(inner, first, channels, columns, stride);
    const int32_t size = layer->out_wide ? 2 : 1;
    args.row *= size;
    args.pixel *= size;
    args.next_y *= size;
    return args;
}

DFQ_INLINE void dfq_dsp_wide_depthwise_clamp(const dfq_depthwise3x3_s16sn_dsp_t *layer, int8_t *y, int32_t pixels)
{
    const int32_t channels = layer->inner.depthwise.channels;
    if (layer->narrow && dfq_dsp_clamps_halves(&layer->bounds, layer->out_wide)) {
        dfq_dsp_clamp_halves(y, layer->bounds.lo, layer->bounds.hi, pixels * channels);
    } else if (layer->narrow) {
        dfq_wide_clamp_pixels(&layer->bounds, y, layer->out_wide, pixels, channels);
    }
}

/* The int8 kernel's descriptor with its stream, and the scratch that is left. */
DFQ_INLINE int8_t *dfq_dsp_wide_depthwise_stream(const dfq_depthwise3x3_s16sn_dsp_t *layer,
                                                 dfq_depthwise3x3_s8s8_dsp_t *inner, int8_t *scratch)
{
    if (layer->inner.packed.words != NULL) {
        return dfq_dsp_unpack_depthwise(&layer->inner, inner, scratch);
    }
    *inner = layer->inner.depthwise;
    return scratch;
}

DFQ_KERNEL void dfq_depthwise3x3_s16sn_dsp(const dfq_depthwise3x3_s16sn_dsp_t *layer, const int8_t *x, int8_t *y,
                                           int8_t *scratch)
{
    dfq_depthwise3x3_s8s8_dsp_t inner;
    dfq_word_t *pairs = (dfq_word_t *)(void *)dfq_dsp_wide_depthwise_stream(layer, &inner, scratch);
    const int32_t columns = inner.out_width + 2;
    const uint32_t word = dfq_dsp_padding_word(layer->in_wide, inner.pad_value);
    const uint32_t padding[2] = { word, word };
    dfq_dsp_depthwise_args_t args = dfq_dsp_wide_depthwise_args(layer, &inner, 0, inner.channels, columns, 1);
    const int32_t row = args.row;
    dfq_dsp_pad_columns(&inner, pairs, columns, inner.channels);
    for (int32_t oy = -2; oy < inner.out_height; oy += 2) {
        const int32_t swapped = oy / 2 & 1;
        const int32_t iy = oy + 2 - inner.pad_top;
        dfq_word_t *to = pairs + 2 * inner.pad_left + (oy < 0 ? 0 : 1 - swapped);
        dfq_dsp_wide_pair_rows(layer->in_wide, to, dfq_dsp_wide_row(layer, x, iy, 0, padding),
                               dfq_dsp_wide_row(layer, x, iy + 1, 0, padding), inner.in_width, columns, inner.channels);
        if (oy < 0) {
            continue;
        }
        if (oy + 1 == inner.out_height) {
            args.row = 0; /* the second row goes to the same place, and the first over it */
        }
        if (layer->out_wide) {
            if (swapped) {
                dfq_dsp_depthwise_rows_16_swapped(pairs, &args, y);
            } else {
                dfq_dsp_depthwise_rows_16(pairs, &args, y);
            }
        } else if (swapped) {
            dfq_dsp_depthwise_rows_swapped(pairs, &args, y);
        } else {
            dfq_dsp_depthwise_rows(pairs, &args, y);
        }
        dfq_dsp_wide_depthwise_clamp(layer, y, dfq_min(2, inner.out_height - oy) * inner.out_width);
        y += 2 * row;
    }
}

DFQ_KERNEL void dfq_depthwise3x3_stride2_s16sn_dsp(const dfq_depthwise3x3_s16sn_dsp_t *layer, const int8_t *x,
                                                   int8_t *y, int8_t *scratch)
{
    dfq_depthwise3x3_s8s8_dsp_t inner;
    dfq_word_t *pairs = (dfq_word_t *)(void *)dfq_dsp_wide_depthwise_stream(layer, &inner, scratch);
    const int32_t columns = 2 * inner.out_width + 1;
    const int32_t count = dfq_min(inner.in_width, columns - inner.pad_left);
    const int32_t in_size = layer->in_wide ? 2 : 1, out_size = layer->out_wide ? 2 : 1;
    const int32_t row = in_size * inner.in_width * inner.channels;
    const uint32_t word = dfq_dsp_padding_word(layer->in_wide, inner.pad_value);
    const uint32_t padding[2] = { word, word };
    dfq_word_t *first = pairs + 2 * inner.pad_left;
    dfq_dsp_pad_columns(&inner, pairs, columns, 4);
    for (int32_t oy = 0; oy < inner.out_height; oy++) {
        const int32_t iy = 2 * oy - inner.pad_top;
        const bool inside = iy >= 0 && iy + 2 < inner.in_height;
        for (int32_t c = 0; c < inner.channels; c += 4) {
            const int32_t lanes = dfq_min(4, inner.channels - c);
            const dfq_dsp_depthwise_args_t args = dfq_dsp_wide_depthwise_args(layer, &inner, c, lanes, columns, 2);
            if (inside && lanes == 4 && count > 0) {
                const dfq_dsp_three_args_t rows = { x + iy * row + in_size * c, row, in_size * inner.channels,
                                                    8 * columns, 8 * count };
                if (layer->in_wide) {
                    dfq_dsp_pair_three_rows_16(first, &rows);
                } else {
                    dfq_dsp_pair_three_rows(first, &rows);
                }
            } else if (count > 0) { /* else all columns are padding */
                const dfq_dsp_row_t third = dfq_dsp_wide_row(layer, x, iy + 2, c, padding);
                dfq_dsp_wide_pair_rows(layer->in_wide, first, dfq_dsp_wide_row(layer, x, iy, c, padding),
                                       dfq_dsp_wide_row(layer, x, iy + 1, c, padding), count, columns, lanes);
                dfq_dsp_wide_pair_rows(layer->in_wide, first + 1, third, third, count, columns, lanes);
            }
            if (layer->out_wide) {
                dfq_dsp_depthwise_16_stride2(pairs, &args, y + out_size * c);
            } else {
                dfq_dsp_depthwise_stride2(pairs, &args, y + out_size * c);
            }
        }
        dfq_dsp_wide_depthwise_clamp(layer, y, inner.out_width);
        y += out_size * inner.out_width * inner.channels;
    }
}

#endif
