/* SPDX-License-Identifier: MIT-0 */
/* Convolutions with int16 activations: inputs and outputs int8 or int16 each, or int32 outputs
 * (sums for a float output); weights of 2 to 8 bits.
 *
 *   x        [in_height][in_width][in_channels], 2-byte aligned where int16
 *   weight   [out_channels][kernel_height][kernel_width][in_channels / groups], bytes, or fewer bits in chunks of
 *            output channels (dfq_unpack.h); depthwise [kernel_height][kernel_width][channels]
 *   out      [out_height][out_width][out_channels], disjoint from x
 *   scratch  dfq_conv2d_s16sn: two windows of int16; dfq_depthwise_s16sn: the rows under an output row, int16; then a
 *            chunk of bytes, where weights have fewer bits than eight
 *
 * The accumulator is int32: the compiler has proved from the real weights that no sum over these inputs leaves it.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_CONV2D_S16SN_H
#define DFQ_CONV2D_S16SN_H

#include "dfq_unpack.h"
#include "dfq_wide_s16.h"

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

typedef struct {
    const DFQ_FLASH int8_t *bytes; /* weights, or NULL: `packed` has them */
    dfq_packed_t packed;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_s16_t requantize;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
    int32_t groups;
    int32_t in_wide, out_wide;
} dfq_conv2d_s16sn_t;

/* `count` inputs from place `from` on as int16. */
DFQ_INLINE dfq_half_t *dfq_widen_run(dfq_half_t *to, const int8_t *x, int32_t wide, int32_t from, int32_t count)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
    const int8_t *bytes = wide ? x + 2 * from : x + from;
    const int32_t step = wide ? 16 : 8;
    int32_t i = 0;
    for (; i + 8 <= count; i += 8, bytes += step) {
        vstrhq_s16(to + i, wide ? vldrhq_s16((const int16_t *)(const void *)bytes) : vldrbq_s16(bytes));
    }
    if (i < count) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(count - i));
        const int16_t *halves = (const int16_t *)(const void *)bytes;
        vstrhq_p_s16(to + i, wide ? vldrhq_z_s16(halves, lanes) : vldrbq_z_s16(bytes, lanes), lanes);
    }
#else
    const dfq_half_t *halves = (const dfq_half_t *)(const void *)(wide ? x + 2 * from : x);
    if (wide && (((uintptr_t)to | (uintptr_t)halves) & 3u) == 0u) {
        dfq_copy((int8_t *)to, (const int8_t *)halves, 2 * count);
    } else if (wide) {
        DFQ_UNROLL(4)
        for (int32_t i = 0; i < count; i++) {
            to[i] = halves[i];
        }
    } else {
        DFQ_UNROLL(4)
        for (int32_t i = 0; i < count; i++) {
            to[i] = x[from + i];
        }
    }
#endif
    return to + count;
}

DFQ_INLINE dfq_half_t *dfq_fill_halves(dfq_half_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (dfq_half_t)value;
    }
    return to + count;
}

/* One window of `depth` channels from `channel` on, contiguous in `column`. */
DFQ_PART void dfq_gather_window_s16(const dfq_conv2d_s16sn_t *layer, const int8_t *x, int32_t oy, int32_t ox,
                                    int32_t channel, int32_t depth, dfq_half_t *column)
{
    const int32_t x0 = ox * layer->stride_x - layer->pad_left;
    const int32_t run = layer->dilation_x == 1 && layer->groups == 1 ? layer->kernel_width : 1;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = oy * layer->stride_y - layer->pad_top + ky * layer->dilation_y;
        for (int32_t kx = 0; kx < layer->kernel_width; kx += run) {
            /* The taps of a run are neighbours: those between the left and the right padding are inputs. */
            const int32_t ix = x0 + kx * layer->dilation_x;
            const bool inside = iy >= 0 && iy < layer->in_height;
            const int32_t left = inside ? dfq_min(dfq_max(-ix, 0), run) : run;
            const int32_t end = inside ? dfq_max(dfq_min(layer->in_width - ix, run), left) : run;
            const int32_t from = (iy * layer->in_width + ix + left) * layer->in_channels + channel;
            column = dfq_fill_halves(column, layer->pad_value, left * depth);
            if (end > left) {
                column = dfq_widen_run(column, x, layer->in_wide, from, (end - left) * depth);
            }
            column = dfq_fill_halves(column, layer->pad_value, (run - end) * depth);
        }
    }
}

/* Two sums: of two columns and one row of weights. */
typedef struct {
    int32_t a0, a1;
} dfq_pair_sums_t;

/* Sums of a block of two columns and two rows of weights. */
typedef struct {
    int32_t a00, a01, a10, a11;
} dfq_block_s16_t;

DFQ_INLINE dfq_block_s16_t dfq_step_2x2_s16(dfq_block_s16_t acc, const dfq_half_t *x0, const dfq_half_t *x1,
                                            const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1)
{
    const int32_t p0 = *x0, p1 = *x1, q0 = *w0, q1 = *w1;
    acc.a00 += p0 * q0;
    acc.a01 += p0 * q1;
    acc.a10 += p1 * q0;
    acc.a11 += p1 * q1;
    return acc;
}

DFQ_PART dfq_block_s16_t dfq_dot_2x2_s16(dfq_block_s16_t acc, const dfq_half_t *x0, const dfq_half_t *x1,
                                         const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1, int32_t depth)
{
    const dfq_half_t *const end = x0 + depth;
#if !defined(DFQ_OPTIMIZE_SIZE)
    for (; end - x0 >= 4; x0 += 4, x1 += 4, w0 += 4, w1 += 4) {
        acc = dfq_step_2x2_s16(acc, x0, x1, w0, w1);
        acc = dfq_step_2x2_s16(acc, x0 + 1, x1 + 1, w0 + 1, w1 + 1);
        acc = dfq_step_2x2_s16(acc, x0 + 2, x1 + 2, w0 + 2, w1 + 2);
        acc = dfq_step_2x2_s16(acc, x0 + 3, x1 + 3, w0 + 3, w1 + 3);
    }
#endif
    for (; x0 != end; x0++, x1++, w0++, w1++) {
        acc = dfq_step_2x2_s16(acc, x0, x1, w0, w1);
    }
    return acc;
}

/* What fits eight registers. Not inlined, since the layer around it would take some of them. */
DFQ_NOINLINE uint64_t dfq_dot_pair_s16(const DFQ_FLASH int8_t *w, const dfq_half_t *x0, const dfq_half_t *x1,
                                       int32_t depth)
{
    int32_t a0 = 0, a1 = 0;
    DFQ_UNROLL(8)
    for (const dfq_half_t *const end = x0 + depth; x0 != end; x0++, x1++, w++) {
        const int32_t p = *w;
        a0 += *x0 * p;
        a1 += *x1 * p;
    }
    return (uint64_t)(uint32_t)a1 << 32 | (uint32_t)a0;
}

/* The same of two rows of weights and one column. */
DFQ_NOINLINE uint64_t dfq_dot_rows_s16(const dfq_half_t *x, const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1,
                                       int32_t depth)
{
    int32_t a0 = 0, a1 = 0;
    DFQ_UNROLL(8)
    for (const dfq_half_t *const end = x + depth; x != end; x++, w0++, w1++) {
        const int32_t p = *x;
        a0 += *w0 * p;
        a1 += *w1 * p;
    }
    return (uint64_t)(uint32_t)a1 << 32 | (uint32_t)a0;
}

/* Four rows of weights, `depth` apart, meet one column. */
typedef struct {
    int32_t a0, a1, a2, a3;
} dfq_column_s16_t;

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
/* Eight inputs at a time, the last ones under a mask. */
DFQ_PART dfq_column_s16_t dfq_dot_1x4_s16(dfq_column_s16_t acc, const dfq_half_t *x, const DFQ_FLASH int8_t *w,
                                          int32_t depth)
{
    for (int32_t left = depth; left > 0; left -= 8, x += 8, w += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)left);
        const int16x8_t p = vldrhq_z_s16((const int16_t *)x, some);
        acc.a0 = vmladavaq_s16(acc.a0, p, vldrbq_z_s16(w, some));
        acc.a1 = vmladavaq_s16(acc.a1, p, vldrbq_z_s16(w + depth, some));
        acc.a2 = vmladavaq_s16(acc.a2, p, vldrbq_z_s16(w + 2 * depth, some));
        acc.a3 = vmladavaq_s16(acc.a3, p, vldrbq_z_s16(w + 3 * depth, some));
    }
    return acc;
}
#else
#if defined(__OPTIMIZE__) && defined(__ARM_FEATURE_DSP) && defined(__thumb__) && defined(__ARMEL__)
/* clang-format off */
#define DFQ_DOT_FOUR(load, sum)                                   \
    load                                                          \
    "sxtb16 %[odd], %[bytes], ror #8\n\t"                         \
    "sxtb16 %[bytes], %[bytes]\n\t"                               \
    "smlad %[" sum "], %[x13], %[odd], %[" sum "]\n\t"            \
    "smlad %[" sum "], %[x02], %[bytes], %[" sum "]\n\t"
/* clang-format on */
#endif

DFQ_PART dfq_column_s16_t dfq_dot_1x4_s16(dfq_column_s16_t acc, const dfq_half_t *x, const DFQ_FLASH int8_t *w,
                                          int32_t depth)
{
    const dfq_half_t *const end = x + depth;
#if defined(DFQ_DOT_FOUR)
    /* Four inputs: GCC by itself would have more between loads and products than there are registers. */
    for (const dfq_half_t *const last = end - (depth & 3); x != last;) {
        uint32_t x02, x13, bytes, odd;
        __asm__("ldr %[x02], [%[x]], #4\n\t"
                "ldr %[odd], [%[x]], #4\n\t"
                "pkhtb %[x13], %[odd], %[x02], asr #16\n\t"
                "pkhbt %[x02], %[x02], %[odd], lsl #16\n\t" /* clang-format off */
                DFQ_DOT_FOUR("ldr %[bytes], [%[w], %[depth]]\n\t", "a1")
                DFQ_DOT_FOUR("ldr %[bytes], [%[w], %[depth], lsl #1]\n\t", "a2")
                DFQ_DOT_FOUR("add %[odd], %[w], %[depth], lsl #1\n\tldr %[bytes], [%[odd], %[depth]]\n\t", "a3")
                DFQ_DOT_FOUR("ldr %[bytes], [%[w]], #4\n\t", "a0") /* clang-format on */
                : [a0] "+r"(acc.a0), [a1] "+r"(acc.a1), [a2] "+r"(acc.a2), [a3] "+r"(acc.a3), [x] "+r"(x), [w] "+r"(w),
                  [x02] "=&r"(x02), [x13] "=&r"(x13), [bytes] "=&r"(bytes), [odd] "=&r"(odd)
                : [depth] "r"(depth)
                : "memory");
    }
#endif
    DFQ_UNROLL(4)
    for (; x != end; x++, w++) {
        const int32_t p = *x;
        acc.a0 += p * w[0];
        acc.a1 += p * w[depth];
        acc.a2 += p * w[2 * depth];
        acc.a3 += p * w[3 * depth];
    }
    return acc;
}
#endif

/* One or two columns and channels first .. first + count of the layer, whose weights start at `w`; outputs from
 * places `place` and `place` + out_channels on. */
DFQ_PART void dfq_matmul_s16(const dfq_conv2d_s16sn_t *layer, const dfq_half_t *columns, int32_t pixels, int32_t depth,
                             const DFQ_FLASH int8_t *w, int32_t first, int32_t count, int32_t place, int8_t *out)
{
    const dfq_requantize_s16_t *form = &layer->requantize;
    const dfq_half_t *x0 = columns, *x1 = pixels == 2 ? columns + depth : columns;
    const int32_t other = place + layer->out_channels;
    const int32_t end = first + count;
    int32_t c = first;
#if !defined(DFQ_EIGHT_REGISTERS)
    if (pixels == 1) {
        for (; c + 4 <= end; c += 4, w += 4 * depth) {
            dfq_column_s16_t acc = { layer->bias[c], layer->bias[c + 1], layer->bias[c + 2], layer->bias[c + 3] };
            acc = dfq_dot_1x4_s16(acc, x0, w, depth);
            dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, acc.a0, c));
            dfq_store_sum(out, layer->out_wide, place + c + 1, dfq_requantize_s16(form, acc.a1, c + 1));
            dfq_store_sum(out, layer->out_wide, place + c + 2, dfq_requantize_s16(form, acc.a2, c + 2));
            dfq_store_sum(out, layer->out_wide, place + c + 3, dfq_requantize_s16(form, acc.a3, c + 3));
        }
    }
    for (; pixels == 2 && c + 2 <= end; c += 2, w += 2 * depth) {
        dfq_block_s16_t acc = { layer->bias[c], layer->bias[c + 1], layer->bias[c], layer->bias[c + 1] };
        acc = dfq_dot_2x2_s16(acc, x0, x1, w, w + depth, depth);
        dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, acc.a00, c));
        dfq_store_sum(out, layer->out_wide, place + c + 1, dfq_requantize_s16(form, acc.a01, c + 1));
        dfq_store_sum(out, layer->out_wide, other + c, dfq_requantize_s16(form, acc.a10, c));
        dfq_store_sum(out, layer->out_wide, other + c + 1, dfq_requantize_s16(form, acc.a11, c + 1));
    }
#endif
    for (; pixels == 1 && c + 2 <= end; c += 2, w += 2 * depth) {
        const uint64_t sums = dfq_dot_rows_s16(x0, w, w + depth, depth);
        const int32_t first_sum = layer->bias[c] + (int32_t)(uint32_t)sums;
        const int32_t second_sum = layer->bias[c + 1] + (int32_t)(sums >> 32);
        dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, first_sum, c));
        dfq_store_sum(out, layer->out_wide, place + c + 1, dfq_requantize_s16(form, second_sum, c + 1));
    }
    for (; c < end; c++, w += depth) {
        const uint64_t sums = dfq_dot_pair_s16(w, x0, x1, depth);
        const int32_t sum = layer->bias[c] + (int32_t)(uint32_t)sums;
        dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, sum, c));
        if (pixels == 2) {
            const int32_t second = layer->bias[c] + (int32_t)(sums >> 32);
            dfq_store_sum(out, layer->out_wide, other + c, dfq_requantize_s16(form, second, c));
        }
    }
}

/* Channels first .. first + count of all pixels, whose weights are at `weight`. */
DFQ_INLINE void dfq_conv2d_channels_s16(const dfq_conv2d_s16sn_t *layer, const DFQ_FLASH int8_t *weight, int32_t first,
                                        int32_t count, const int8_t *x, int8_t *out, dfq_half_t *columns)
{
    const int32_t group_in = layer->in_channels / layer->groups;
    const int32_t group_out = layer->out_channels / layer->groups;
    const int32_t depth = layer->kernel_height * layer->kernel_width * group_in;
    const int32_t share = layer->groups == 1 ? count : group_out;
    int32_t place = 0;
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        int32_t pixels = 2;
        for (int32_t ox = 0; ox < layer->out_width; ox += pixels, place += pixels * layer->out_channels) {
            pixels = dfq_min(2, layer->out_width - ox);
            for (int32_t g = 0; g < layer->groups; g++) {
                dfq_gather_window_s16(layer, x, oy, ox, g * group_in, group_in, columns);
                if (pixels == 2) {
                    dfq_gather_window_s16(layer, x, oy, ox + 1, g * group_in, group_in, columns + depth);
                    dfq_matmul_s16(layer, columns, 2, depth, weight + g * share * depth, first + g * group_out, share,
                                   place, out);
                } else {
                    dfq_matmul_s16(layer, columns, 1, depth, weight + g * share * depth, first + g * group_out, share,
                                   place, out);
                }
            }
        }
    }
}

DFQ_KERNEL void dfq_conv2d_s16sn(const dfq_conv2d_s16sn_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    const int32_t depth = layer->kernel_height * layer->kernel_width * layer->in_channels / layer->groups;
    dfq_half_t *columns = (dfq_half_t *)(void *)scratch;
    if (layer->bytes != NULL) {
        dfq_conv2d_channels_s16(layer, layer->bytes, 0, layer->out_channels, x, out, columns);
        return;
    }
    int8_t *bytes = scratch + 4 * depth;
    const DFQ_FLASH uint32_t *words = layer->packed.words;
    for (int32_t first = 0; first < layer->out_channels; first += layer->packed.channels) {
        const int32_t count = dfq_min(layer->packed.channels, layer->out_channels - first);
        words = dfq_unpack(words, layer->packed.bits, count * depth, bytes);
        dfq_conv2d_channels_s16(layer, bytes, first, count, x, out, columns);
    }
}

/* One row of three taps for two pixels `step` inputs apart. */
DFQ_INLINE dfq_pair_sums_t dfq_three_taps_s16(dfq_pair_sums_t acc, const dfq_half_t *x, const DFQ_FLASH int8_t *w,
                                              int32_t channels, int32_t step)
{
    const int32_t w0 = w[0], w1 = w[channels], w2 = w[2 * channels];
    acc.a0 += x[0] * w0 + x[channels] * w1 + x[2 * channels] * w2;
    acc.a1 += x[step] * w0 + x[step + channels] * w1 + x[step + 2 * channels] * w2;
    return acc;
}

/* Pixels of one output row, from place `place` on, whose input rows are `row_pitch` inputs apart. */
DFQ_INLINE void dfq_depthwise_row_s16(const dfq_conv2d_s16sn_t *layer, const DFQ_FLASH int8_t *weight,
                                      const dfq_half_t *x, int32_t row_pitch, int8_t *out, int32_t place)
{
    const dfq_requantize_s16_t *form = &layer->requantize;
    const int32_t channels = layer->in_channels;
    const int32_t step = layer->stride_x * channels;
    const int32_t tap_pitch = layer->dilation_x * channels;
    int32_t ox = 0;
    if (layer->kernel_height == 3 && layer->kernel_width == 3 && layer->dilation_x == 1) {
        for (; ox + 2 <= layer->out_width; ox += 2, x += 2 * step, place += 2 * channels) {
            for (int32_t c = 0; c < channels; c++) {
                dfq_pair_sums_t acc = { layer->bias[c], layer->bias[c] };
                const DFQ_FLASH int8_t *w = weight + c;
                acc = dfq_three_taps_s16(acc, x + c, w, channels, step);
                acc = dfq_three_taps_s16(acc, x + c + row_pitch, w + 3 * channels, channels, step);
                acc = dfq_three_taps_s16(acc, x + c + 2 * row_pitch, w + 6 * channels, channels, step);
                dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, acc.a0, c));
                dfq_store_sum(out, layer->out_wide, place + channels + c, dfq_requantize_s16(form, acc.a1, c));
            }
        }
    }
    for (; ox < layer->out_width; ox++, x += step, place += channels) {
        for (int32_t c = 0; c < channels; c++) {
            const DFQ_FLASH int8_t *w = weight + c;
            int32_t acc = layer->bias[c];
            for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
                const dfq_half_t *row = x + ky * row_pitch + c;
                for (int32_t kx = 0; kx < layer->kernel_width; kx++, w += channels) {
                    acc += (int32_t)row[kx * tap_pitch] * *w;
                }
            }
            dfq_store_sum(out, layer->out_wide, place + c, dfq_requantize_s16(form, acc, c));
        }
    }
}

/* Pixels of the rows that an output row needs. */
DFQ_INLINE int32_t dfq_depthwise_row_pixels(const dfq_conv2d_s16sn_t *layer)
{
    return (layer->out_width - 1) * layer->stride_x + (layer->kernel_width - 1) * layer->dilation_x + 1;
}

/* The rows under output row `oy` as int16, padding included. */
DFQ_INLINE void dfq_gather_rows_s16(const dfq_conv2d_s16sn_t *layer, const int8_t *x, int32_t oy, dfq_half_t *to)
{
    const int32_t channels = layer->in_channels;
    const int32_t pixels = dfq_depthwise_row_pixels(layer);
    const int32_t left = dfq_min(layer->pad_left, pixels);
    const int32_t end = dfq_max(dfq_min(layer->pad_left + layer->in_width, pixels), left);
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = oy * layer->stride_y - layer->pad_top + ky * layer->dilation_y;
        if (iy < 0 || iy >= layer->in_height) {
            to = dfq_fill_halves(to, layer->pad_value, pixels * channels);
            continue;
        }
        to = dfq_fill_halves(to, layer->pad_value, left * channels);
        to = dfq_widen_run(to, x, layer->in_wide, iy * layer->in_width * channels, (end - left) * channels);
        to = dfq_fill_halves(to, layer->pad_value, (pixels - end) * channels);
    }
}

/* The weights as bytes, unpacked behind the rows in scratch where they have fewer bits. */
DFQ_INLINE const DFQ_FLASH int8_t *dfq_depthwise_bytes(const dfq_conv2d_s16sn_t *layer, int8_t *scratch)
{
    const int32_t channels = layer->in_channels;
    int8_t *bytes = scratch + (2 * layer->kernel_height * dfq_depthwise_row_pixels(layer) * channels + 3) / 4 * 4;
    if (layer->bytes != NULL) {
        return layer->bytes;
    }
    dfq_unpack(layer->packed.words, layer->packed.bits, layer->kernel_height * layer->kernel_width * channels, bytes);
    return bytes;
}

/* One filter a channel. The rows under an output row go to scratch, padding included. */
DFQ_KERNEL void dfq_depthwise_s16sn(const dfq_conv2d_s16sn_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_half_t *const rows = (dfq_half_t *)(void *)scratch;
    const int32_t channels = layer->in_channels;
    const int32_t pitch = dfq_depthwise_row_pixels(layer) * channels;
    const DFQ_FLASH int8_t *weight = dfq_depthwise_bytes(layer, scratch);
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_gather_rows_s16(layer, x, oy, rows);
        dfq_depthwise_row_s16(layer, weight, rows, pitch, out, oy * layer->out_width * channels);
    }
}

#endif
