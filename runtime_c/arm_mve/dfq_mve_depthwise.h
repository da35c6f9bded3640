/* Depthwise convolution, int8, Helium.
 *
 *   x        [in_height][in_width][channels]
 *   weight   [channels][groups][kernel_width][4 rows]; group g holds kernel rows 4 g .. 4 g + 3, zeros after the last
 *   bias, multipliers  [channels]
 *   out      [out_height][out_width][channels]
 *
 * For 16 channels at a time, rows are interleaved into a strip of columns [column][group][16 channels][4 rows].
 * Four words of it, one from each of four columns, are a 4x4 patch of one channel in one vector, and one VMLADAV is
 * 16 taps. A 3x3 kernel at stride 1 gets four outputs from a patch, with the weights in four positions.
 *
 * Accumulators go through a line in scratch; a vector of results is one channel of eight pixels.
 * Equal QConv2D bit for bit.
 */
#ifndef DFQ_MVE_DEPTHWISE_H
#define DFQ_MVE_DEPTHWISE_H

#include "dfq_mve.h"

typedef struct {
    dfq_mve_linear_t linear;
    int32_t in_height;
    int32_t in_width;
    int32_t out_height;
    int32_t out_width;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_y;
    int32_t stride_x;
    int32_t dilation_y;
    int32_t dilation_x;
    int32_t pad_top;
    int32_t pad_left;
    int32_t pad_value;
    int32_t strip_columns;
} dfq_mve_depthwise_t;

#if DFQ_MVE
DFQ_INLINE void dfq_mve_store_interleaved(int8_t *to, int8x16x4_t words)
{
    /* GCC 12 would fold the caller's step into VST43 as a register offset, which does not exist. */
    __asm__("" : "+r"(to));
    vst4q_s8(to, words);
}
#endif

/* Interleave four rows of `count` (1..16) channels into `columns` columns. Rows outside the image are padding. */
DFQ_NOINLINE void dfq_mve_interleave(const dfq_mve_depthwise_t *layer, const int8_t *x, int32_t iy, int32_t columns,
                                     int32_t count, int8_t *to, int32_t to_step)
{
    const int8_t pad = (int8_t)layer->pad_value;
    const int8_t padding[16] = {pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad};
    const int8_t *rows[4];
    int32_t steps[4];
    for (int32_t r = 0; r < 4; r++, iy += layer->dilation_y) {
        const bool inside = iy >= 0 && iy < layer->in_height;
        rows[r] = inside ? x + iy * layer->in_width * layer->linear.channels : padding;
        steps[r] = inside ? layer->linear.channels : 0;
    }
#if DFQ_MVE
    const int8_t *r0 = rows[0];
    const int8_t *r1 = rows[1];
    const int8_t *r2 = rows[2];
    const int8_t *r3 = rows[3];
    if (count >= 16) {
        for (int32_t i = 0; i < columns; i++) {
            const int8x16x4_t words = {{vldrbq_s8(r0), vldrbq_s8(r1), vldrbq_s8(r2), vldrbq_s8(r3)}};
            dfq_mve_store_interleaved(to, words);
            to += to_step;
            r0 += steps[0];
            r1 += steps[1];
            r2 += steps[2];
            r3 += steps[3];
        }
        return;
    }
    const mve_pred16_t lanes = vctp8q((uint32_t)count);
    for (int32_t i = 0; i < columns; i++) {
        const int8x16x4_t words = {
            {vldrbq_z_s8(r0, lanes), vldrbq_z_s8(r1, lanes), vldrbq_z_s8(r2, lanes), vldrbq_z_s8(r3, lanes)}};
        dfq_mve_store_interleaved(to, words);
        to += to_step;
        r0 += steps[0];
        r1 += steps[1];
        r2 += steps[2];
        r3 += steps[3];
    }
#else
    for (int32_t i = 0; i < columns; i++) {
        for (int32_t c = 0; c < count; c++) {
            for (int32_t r = 0; r < 4; r++) {
                to[i * to_step + 4 * c + r] = rows[r][i * steps[r] + c];
            }
        }
    }
#endif
}

/* Columns of the strip that hold input, at most. */
DFQ_INLINE int32_t dfq_mve_depthwise_columns(const dfq_mve_depthwise_t *layer)
{
    return dfq_min(layer->in_width, layer->strip_columns - layer->pad_left);
}

#if DFQ_MVE

/* Accumulators [group][2][4] of channel c become int8. A group is 4 columns of two output rows (`two_rows`), or
 * 8 pixels of one row, even ones first; `places` are their distances from `out`. */
DFQ_INLINE void dfq_mve_depthwise_finish(const dfq_mve_depthwise_t *layer, int32_t c, int32_t *acc, int32_t groups,
                                         bool two_rows, int32_t rows, uint16x8_t places, int8_t *out)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    const int32_t bias = linear->bias[c];
    const int32x4_t multipliers = vdupq_n_s32(linear->multipliers[c]);
    const int16_t zero_point = (int16_t)linear->zero_point;
    const int16x8_t lo = vdupq_n_s16((int16_t)(!linear->narrow ? INT8_MIN : linear->los != NULL ? linear->los[c] : linear->lo));
    const int16x8_t hi = vdupq_n_s16((int16_t)(!linear->narrow ? INT8_MAX : linear->his != NULL ? linear->his[c] : linear->hi));
    const int32_t width = two_rows ? 4 : 8;
    const int32_t step = width * layer->linear.channels;
    int32_t left = layer->out_width;
    if (linear->pre_shift != 0) {
        dfq_mve_shift(acc, 8 * groups, linear->pre_shift);
    }
    int32_t whole = two_rows && rows < 2 ? 0 : left / width;
    left -= whole * width;
    for (; whole > 0; whole--, acc += 8, out += step) {
        const int32x4_t a = vrmulhq_s32(vaddq_n_s32(vldrwq_s32(acc), bias), multipliers);
        const int32x4_t b = vrmulhq_s32(vaddq_n_s32(vldrwq_s32(acc + 4), bias), multipliers);
        const int16x8_t value = vqaddq_n_s16(dfq_mve_narrow_32(a, b), zero_point);
        vstrbq_scatter_offset_s16(out, places, vminq_s16(vmaxq_s16(value, lo), hi));
    }
    for (; left > 0; left -= width, acc += 8, out += step) {
        /* Lanes of the second row are the odd ones. */
        const mve_pred16_t lanes = !two_rows ? vctp16q((uint32_t)left)
                                             : (mve_pred16_t)(vctp32q((uint32_t)left) & (rows < 2 ? 0x3333 : 0xFFFF));
        const int32x4_t a = vrmulhq_s32(vaddq_n_s32(vldrwq_s32(acc), bias), multipliers);
        const int32x4_t b = vrmulhq_s32(vaddq_n_s32(vldrwq_s32(acc + 4), bias), multipliers);
        const int16x8_t value = vqaddq_n_s16(dfq_mve_narrow_32(a, b), zero_point);
        vstrbq_scatter_offset_p_s16(out, places, vminq_s16(vmaxq_s16(value, lo), hi), lanes);
    }
}

/* `count` channels from c of two output rows (one at the bottom of an odd image); `out` is that of channel 0. */
DFQ_NOINLINE void dfq_mve_depthwise_3x3_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line,
                                              int32_t c, int32_t count, int32_t rows, int8_t *out)
{
    const int32_t groups = (layer->out_width + 3) >> 2;
    const uint16x8_t index = vidupq_n_u16(0, 1);
    const uint16x8_t places =
        vaddq_u16(vmulq_n_u16(vshrq_n_u16(index, 1), (uint16_t)layer->linear.channels),
                  vmulq_n_u16(vandq_u16(index, vdupq_n_u16(1)), (uint16_t)(layer->out_width * layer->linear.channels)));
    /* Addresses of a patch's four words, one patch (two columns of 64 bytes) before the first. */
    uint32x4_t words = vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), 64u), (uint32_t)(uintptr_t)strip - 128u);
    for (; count > 0; count--, c++) {
        /* Weights [3 columns][4 rows] and the same one column right, one row down, both. */
        const uint32x4_t w00 = vreinterpretq_u32_s8(vldrbq_z_s8(layer->linear.weight + 12 * c, vctp8q(12)));
        uint32_t carry = 0;
        const uint32x4_t w01 = vshlcq_u32(w00, &carry, 32);
        const uint32x4_t w10 = vshlq_n_u32(w00, 8);
        const uint32x4_t w11 = vshlq_n_u32(w01, 8);
        uint32x4_t at = words;
        int32_t *acc = line;
        int32_t left = groups;
        __asm__ volatile("1:\n\t"
                         "vldrw.u32 q0, [%q[at], #128]!\n\t"
                         "vmladav.s8 r0, q0, %q[w00]\n\t"
                         "vmladav.s8 r2, q0, %q[w01]\n\t"
                         "vldrw.u32 q1, [%q[at], #128]!\n\t"
                         "vmladav.s8 r8, q0, %q[w10]\n\t"
                         "vmladav.s8 r10, q0, %q[w11]\n\t"
                         "vmladav.s8 r4, q1, %q[w00]\n\t"
                         "vmladav.s8 r6, q1, %q[w01]\n\t"
                         "vmladav.s8 r12, q1, %q[w10]\n\t"
                         "vmladav.s8 lr, q1, %q[w11]\n\t"
                         "subs %[left], #1\n\t"
                         "stmia %[acc]!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
                         "bne 1b\n\t"
                         : [at] "+&w"(at), [acc] "+&r"(acc), [left] "+&r"(left)
                         : [w00] "w"(w00), [w01] "w"(w01), [w10] "w"(w10), [w11] "w"(w11)
                         : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q0", "q1", "cc", "memory");
        dfq_mve_depthwise_finish(layer, c, line, groups, true, rows, places, out + c);
        words = vaddq_n_u32(words, 4u);
    }
}

/* The same for one output row at stride_x 2, when the kernel has at most four rows and columns. */
DFQ_NOINLINE void dfq_mve_depthwise_stride_2_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line,
                                                   int32_t c, int32_t count, int8_t *out)
{
    const int32_t groups = (layer->out_width + 7) >> 3;
    const int32_t taps = 4 * layer->kernel_width;
    const uint16x8_t places = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)layer->linear.channels);
    uint32x4_t words = vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), 64u * (uint32_t)layer->dilation_x),
                                   (uint32_t)(uintptr_t)strip - 128u);
    for (; count > 0; count--, c++) {
        const int8x16_t w = vldrbq_z_s8(layer->linear.weight + taps * c, vctp8q((uint32_t)taps));
        uint32x4_t at = words;
        int32_t *acc = line;
        int32_t left = groups;
#define DFQ_MVE_WINDOW(acc, q) "vldrw.u32 " q ", [%q[at], #128]!\n\tvmladav.s8 " acc ", " q ", %q[w]\n\t"
        __asm__ volatile("1:\n\t" DFQ_MVE_WINDOW("r0", "q0") DFQ_MVE_WINDOW("r8", "q1") DFQ_MVE_WINDOW("r2", "q0")
                             DFQ_MVE_WINDOW("r10", "q1") DFQ_MVE_WINDOW("r4", "q0") DFQ_MVE_WINDOW("r12", "q1")
                                 DFQ_MVE_WINDOW("r6", "q0") DFQ_MVE_WINDOW("lr", "q1")
                         "subs %[left], #1\n\t"
                         "stmia %[acc]!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"
                         "bne 1b\n\t"
                         : [at] "+&w"(at), [acc] "+&r"(acc), [left] "+&r"(left)
                         : [w] "w"(w)
                         : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q0", "q1", "cc", "memory");
        dfq_mve_depthwise_finish(layer, c, line, groups, false, 1, places, out + c);
        words = vaddq_n_u32(words, 4u);
    }
}

/* The same for any kernel. */
DFQ_NOINLINE void dfq_mve_depthwise_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line,
                                          int32_t c, int32_t count, int8_t *out)
{
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    const int32_t column = 64 * row_groups;
    const int32_t pitch = layer->stride_x * column;
    const int32_t groups = (layer->out_width + 7) >> 3;
    const uint32x4_t taps = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)(layer->dilation_x * column));
    const uint16x8_t places = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)layer->linear.channels);
    for (; count > 0; count--, c++, strip += 4) {
        for (int32_t i = 0; i < 2 * groups; i++) {
            /* Even pixels of a group, then odd ones. */
            const int8_t *w = layer->linear.weight + c * row_groups * 4 * layer->kernel_width;
            const int8_t *window = strip + (8 * (i >> 1) + (i & 1)) * pitch;
            int32_t a0 = 0;
            int32_t a1 = 0;
            int32_t a2 = 0;
            int32_t a3 = 0;
            for (int32_t g = 0; g < row_groups; g++, window += 64) {
                for (int32_t kx = 0; kx < layer->kernel_width; kx += 4) {
                    const int32_t columns = dfq_min(4, layer->kernel_width - kx);
                    const int8x16_t weights = vldrbq_z_s8(w, vctp8q((uint32_t)(4 * columns)));
                    const int8_t *at = window + kx * layer->dilation_x * column;
#define DFQ_MVE_PATCH(pixel)                                                                                      \
    vreinterpretq_s8_s32(vldrwq_gather_offset_s32((const int32_t *)(const void *)(at + 2 * (pixel) * pitch), taps))
                    a0 = vmladavaq_s8(a0, DFQ_MVE_PATCH(0), weights);
                    a1 = vmladavaq_s8(a1, DFQ_MVE_PATCH(1), weights);
                    a2 = vmladavaq_s8(a2, DFQ_MVE_PATCH(2), weights);
                    a3 = vmladavaq_s8(a3, DFQ_MVE_PATCH(3), weights);
                    w += 4 * columns;
                }
            }
            line[4 * i] = a0;
            line[4 * i + 1] = a1;
            line[4 * i + 2] = a2;
            line[4 * i + 3] = a3;
        }
        dfq_mve_depthwise_finish(layer, c, line, groups, false, 1, places, out + c);
    }
}

#else /* the same in C */

/* `rows` output rows, one input row apart, from one strip. */
DFQ_NOINLINE void dfq_mve_depthwise_rows(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t c, int32_t count,
                                         int32_t rows, int8_t *out)
{
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    for (int32_t i = 0; i < count * rows * layer->out_width; i++) {
        const int32_t channel = i % count;
        const int32_t ox = i / count % layer->out_width;
        const int32_t row = i / count / layer->out_width;
        const int8_t *w = layer->linear.weight + (c + channel) * row_groups * 4 * layer->kernel_width;
        int32_t acc = 0;
        for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
            for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
                const int32_t at = ox * layer->stride_x + kx * layer->dilation_x;
                const int32_t weight = w[((ky >> 2) * layer->kernel_width + kx) * 4 + (ky & 3)];
                const int32_t line = ky + row;
                acc += weight * strip[(at * row_groups + (line >> 2)) * 64 + 4 * channel + (line & 3)];
            }
        }
        out[(row * layer->out_width + ox) * layer->linear.channels + c + channel] =
            dfq_mve_requantize(&layer->linear, acc, c + channel, c + channel);
    }
}

DFQ_INLINE void dfq_mve_depthwise_3x3_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line,
                                            int32_t c, int32_t count, int32_t rows, int8_t *out)
{
    (void)line;
    dfq_mve_depthwise_rows(layer, strip, c, count, rows, out);
}

DFQ_INLINE void dfq_mve_depthwise_stride_2_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line,
                                                 int32_t c, int32_t count, int8_t *out)
{
    (void)line;
    dfq_mve_depthwise_rows(layer, strip, c, count, 1, out);
}

DFQ_INLINE void dfq_mve_depthwise_block(const dfq_mve_depthwise_t *layer, const int8_t *strip, int32_t *line, int32_t c,
                                        int32_t count, int8_t *out)
{
    (void)line;
    dfq_mve_depthwise_rows(layer, strip, c, count, 1, out);
}

#endif

/* 3x3, stride 1, no dilation: two output rows at a time. Scratch: a line of 32 bytes for 4 columns, and the strip. */
DFQ_KERNEL void dfq_mve_depthwise_3x3(const dfq_mve_depthwise_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    int32_t *line = (int32_t *)(void *)scratch;
    int8_t *strip = scratch + ((layer->out_width + 3) >> 2) * 32;
    const int32_t columns = dfq_mve_depthwise_columns(layer);
    dfq_mve_fill(strip, layer->pad_value, 64 * layer->strip_columns);
    for (int32_t oy = 0; oy < layer->out_height; oy += 2) {
        const int32_t rows = dfq_min(2, layer->out_height - oy);
        for (int32_t c = 0; c < layer->linear.channels; c += 16) {
            const int32_t count = dfq_min(16, layer->linear.channels - c);
            dfq_mve_interleave(layer, x + c, oy - layer->pad_top, columns, count, strip + 64 * layer->pad_left, 64);
            dfq_mve_depthwise_3x3_block(layer, strip, line, c, count, rows, out);
        }
        out += 2 * layer->out_width * layer->linear.channels;
    }
}

/* Any kernel, one output row at a time. Scratch: a line of 32 bytes for 8 columns, and the strip. */
DFQ_KERNEL void dfq_mve_depthwise(const dfq_mve_depthwise_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    int32_t *line = (int32_t *)(void *)scratch;
    int8_t *strip = scratch + ((layer->out_width + 7) >> 3) * 32;
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    const int32_t column = 64 * row_groups;
    const int32_t columns = dfq_mve_depthwise_columns(layer);
    const bool stride_2 = layer->stride_x == 2 && layer->kernel_height <= 4 && layer->kernel_width <= 4;
    dfq_mve_fill(strip, layer->pad_value, column * layer->strip_columns);
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        const int32_t iy = oy * layer->stride_y - layer->pad_top;
        for (int32_t c = 0; c < layer->linear.channels; c += 16) {
            const int32_t count = dfq_min(16, layer->linear.channels - c);
            for (int32_t g = 0; g < row_groups; g++) {
                dfq_mve_interleave(layer, x + c, iy + 4 * g * layer->dilation_y, columns, count,
                                   strip + column * layer->pad_left + 64 * g, column);
            }
            if (stride_2) {
                dfq_mve_depthwise_stride_2_block(layer, strip, line, c, count, out);
            } else {
                dfq_mve_depthwise_block(layer, strip, line, c, count, out);
            }
        }
        out += layer->out_width * layer->linear.channels;
    }
}

#endif
