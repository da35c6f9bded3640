/* SPDX-License-Identifier: MIT-0 */
/* 3x3 convolution of stride 1, int8, by Winograd's F(2x2, 3x3) in integers, Arm DSP extension.
 *
 *   x        [in_height][in_width][in_channels], in_channels a multiple of 4
 *   stream   transformed weights, see below
 *   y        [out_height][out_width][out_channels]
 *   scratch  576 * groups bytes, and the larger of 512 + 32 * blocks and 24 * in_channels
 *
 * A tile of 2x2 outputs costs 16 products for an input channel in place of 36 (Lavin and Gray 2016, 4.1):
 *
 *   4 * tile = A' [sum over channels (2G) w (2G)' * B' x B] A
 *
 * with x the 4x4 inputs under the tile. Doubled, G is whole: everything is an integer, and the sum of a convolution
 * times 4. Inputs grow to at most 512 and weights to 1152, so both are int16. Sums are taken modulo 2^32; the compiler
 * has proved that four times the accumulator, bias included, fits int32, so that what comes out is exact whatever
 * wrapped on the way, and halving it twice is, too.
 *
 * Tiles are taken in pairs, 2x4 pixels; `groups` are 8 input channels, `blocks` 4 output channels, the last of each
 * padded with zeros. The stream is that of dfq_dsp_winograd.h, with four times the biases.
 * All inputs of a pair are read before its first output is written, so `y` may overlap what no later pair reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_WINOGRAD3X3_S8S8_DSP_H
#define DFQ_WINOGRAD3X3_S8S8_DSP_H

#include "dfq_dsp_winograd.h"

/* B' x B of two neighbouring tiles, 4 rows of 6 pixels from `x` on, of all channels. */
DFQ_SHARED void dfq_dsp_winograd_inputs(const int8_t *x, int32_t row_bytes, int32_t channels, dfq_word_t *columns,
                                        int32_t position_words)
{
    uint32_t columns_done[4][6][2]; /* B' x: rows transformed; even and odd channels */
    for (int32_t c = 0; c < channels; c += 4, x += 4) {
        const int8_t *pixel = x;
        DFQ_UNROLL(1) /* more would not fit the registers */
        for (int32_t i = 0; i < 6; i++, pixel += channels) {
            const uint32_t w0 = dfq_dsp_load(pixel);
            const uint32_t w1 = dfq_dsp_load(pixel + row_bytes);
            const uint32_t w2 = dfq_dsp_load(pixel + 2 * row_bytes);
            const uint32_t w3 = dfq_dsp_load(pixel + 3 * row_bytes);
            const uint32_t even1 = dfq_dsp_widen_even(w1), odd1 = dfq_dsp_widen_odd(w1);
            const uint32_t even2 = dfq_dsp_widen_even(w2), odd2 = dfq_dsp_widen_odd(w2);
            columns_done[0][i][0] = dfq_dsp_subtract_halves(dfq_dsp_widen_even(w0), even2);
            columns_done[0][i][1] = dfq_dsp_subtract_halves(dfq_dsp_widen_odd(w0), odd2);
            columns_done[1][i][0] = dfq_dsp_add_halves(even1, even2);
            columns_done[1][i][1] = dfq_dsp_add_halves(odd1, odd2);
            columns_done[2][i][0] = dfq_dsp_subtract_halves(even2, even1);
            columns_done[2][i][1] = dfq_dsp_subtract_halves(odd2, odd1);
            columns_done[3][i][0] = dfq_dsp_subtract_halves(even1, dfq_dsp_widen_even(w3));
            columns_done[3][i][1] = dfq_dsp_subtract_halves(odd1, dfq_dsp_widen_odd(w3));
        }
        dfq_word_t *to = columns;
        DFQ_UNROLL(1)
        for (int32_t row = 0; row < 4; row++, to += 4 * position_words) {
            DFQ_UNROLL(1)
            for (int32_t odd = 0; odd < 2; odd++) {
                const uint32_t t0 = columns_done[row][0][odd], t1 = columns_done[row][1][odd];
                const uint32_t t2 = columns_done[row][2][odd], t3 = columns_done[row][3][odd];
                const uint32_t t4 = columns_done[row][4][odd], t5 = columns_done[row][5][odd];
                dfq_word_t *at = to + 2 * odd;
                at[0] = dfq_dsp_subtract_halves(t0, t2);
                at[1] = dfq_dsp_subtract_halves(t2, t4);
                at[position_words] = dfq_dsp_add_halves(t1, t2);
                at[position_words + 1] = dfq_dsp_add_halves(t3, t4);
                at[2 * position_words] = dfq_dsp_subtract_halves(t2, t1);
                at[2 * position_words + 1] = dfq_dsp_subtract_halves(t4, t3);
                at[3 * position_words] = dfq_dsp_subtract_halves(t1, t3);
                at[3 * position_words + 1] = dfq_dsp_subtract_halves(t3, t5);
            }
        }
        columns += c % 8 == 0 ? 4 : DFQ_DSP_WINOGRAD_GROUP_WORDS - 4;
    }
}

/* A' sums A of two tiles and four channels, requantized by `scales`, to pixels and rows so many bytes apart. */
DFQ_SHARED void dfq_dsp_winograd_outputs(const dfq_word_t *sums, const int32_t *scales, int32_t zero_point, int8_t *out,
                                         int32_t pixel_bytes, int32_t row_bytes)
{
    for (int32_t tile = 0; tile < 2; tile++, out += 2 * pixel_bytes) {
        for (int32_t c = 0; c < 4; c++, sums++) {
            uint32_t top[4], bottom[4];
            for (int32_t i = 0; i < 4; i++) {
                const uint32_t m1 = sums[8 * (4 + i)], m2 = sums[8 * (8 + i)];
                top[i] = sums[8 * i] + m1 + m2;
                bottom[i] = m1 - m2 - sums[8 * (12 + i)];
            }
            const uint32_t top1 = top[1] + (uint32_t)scales[c], bottom1 = bottom[1] + (uint32_t)scales[c];
            const int32_t multiplier = scales[4 + c];
            int8_t *to = out + c;
            to[0] = dfq_dsp_winograd_scale(top[0] + top1 + top[2], 2, multiplier, zero_point);
            to[pixel_bytes] = dfq_dsp_winograd_scale(top1 - top[2] - top[3], 2, multiplier, zero_point);
            to += row_bytes;
            to[0] = dfq_dsp_winograd_scale(bottom[0] + bottom1 + bottom[2], 2, multiplier, zero_point);
            to[pixel_bytes] = dfq_dsp_winograd_scale(bottom1 - bottom[2] - bottom[3], 2, multiplier, zero_point);
        }
    }
}

DFQ_INLINE void dfq_dsp_winograd_pair_inputs(const void *layer, const int8_t *x, int32_t row_bytes, dfq_word_t *columns)
{
    const int32_t channels = ((const dfq_winograd3x3_s8s8_dsp_t *)layer)->shape.in_channels;
    dfq_dsp_winograd_inputs(x, row_bytes, channels, columns, DFQ_DSP_WINOGRAD_GROUP_WORDS * ((channels + 7) / 8));
}

DFQ_INLINE void dfq_dsp_winograd_pair_outputs(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                              dfq_winograd_place_t place)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_SQUARE;
    dfq_dsp_winograd_blocks(layer, tiles, dfq_dsp_winograd_outputs, columns, sums, place);
}

DFQ_KERNEL void dfq_winograd3x3_s8s8_8x4_dsp(const dfq_winograd3x3_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                             int8_t *scratch)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_SQUARE;
    const int32_t groups = (layer->shape.in_channels + 7) / 8;
    dfq_dsp_winograd_marks((dfq_word_t *)(void *)scratch, tiles.positions, groups);
    dfq_winograd_walk(dfq_dsp_winograd_pair_inputs, dfq_dsp_winograd_pair_outputs, layer, &layer->shape, tiles, x, y,
                      scratch, DFQ_DSP_WINOGRAD_GROUP_WORDS * groups);
}

#endif
