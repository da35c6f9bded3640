/* SPDX-License-Identifier: MIT-0 */
/* 3x3 convolution of stride 1, int8, by Winograd's F(2x2, 3x3) in integers.
 *
 *   x        [in_height][in_width][in_channels], in_channels a multiple of 4
 *   weight   [out_channels / 4, rounded up][16][in_channels][4], transformed
 *   bias     [out_channels]
 *   out      [out_height][out_width][out_channels]
 *   scratch  144 * in_channels bytes, and the larger of 512 + 32 for each four of out_channels and 24 * in_channels
 *
 * As dfq_winograd3x3_s8s8_dsp.h, which tells of the algorithm, but that the bias is added at the end: the compiler
 * has proved that four times the sum of products fits int32. All inputs of a pair of tiles are read before its first
 * output is written, so `out` may overlap what no later pair reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py and, on Thumb, test_portable_qemu.py.
 */
#ifndef DFQ_WINOGRAD3X3_S8S8_H
#define DFQ_WINOGRAD3X3_S8S8_H

#include "dfq_winograd_blocks.h"

/* B' x B of two neighbouring tiles, 4 rows of 6 pixels from `x` on, of all channels. */
DFQ_SHARED void dfq_winograd_inputs(const int8_t *x, int32_t row_bytes, int32_t channels, dfq_word_t *columns)
{
    const int32_t position_words = DFQ_WINOGRAD_GROUP_WORDS * (channels / 4);
    int32_t half[4][6]; /* B' x */
    for (int32_t c = 0; c < channels; c++, x++) {
        const int8_t *pixel = x;
        DFQ_UNROLL(1) /* more would not fit the registers */
        for (int32_t i = 0; i < 6; i++, pixel += channels) {
            const int32_t d0 = pixel[0], d1 = pixel[row_bytes], d2 = pixel[2 * row_bytes], d3 = pixel[3 * row_bytes];
            half[0][i] = d0 - d2;
            half[1][i] = d1 + d2;
            half[2][i] = d2 - d1;
            half[3][i] = d1 - d3;
        }
        dfq_word_t *to = columns;
        DFQ_UNROLL(1)
        for (int32_t row = 0; row < 4; row++) {
            const int32_t t0 = half[row][0], t1 = half[row][1], t2 = half[row][2];
            const int32_t t3 = half[row][3], t4 = half[row][4], t5 = half[row][5];
            to[0] = (uint32_t)(t0 - t2);
            to[1] = (uint32_t)(t2 - t4);
            to += position_words;
            to[0] = (uint32_t)(t1 + t2);
            to[1] = (uint32_t)(t3 + t4);
            to += position_words;
            to[0] = (uint32_t)(t2 - t1);
            to[1] = (uint32_t)(t4 - t3);
            to += position_words;
            to[0] = (uint32_t)(t1 - t3);
            to[1] = (uint32_t)(t3 - t5);
            to += position_words;
        }
        columns += c % 4 == 3 ? 3 : 2;
    }
}

/* A' sums A of one tile and one channel, requantized. */
DFQ_PART void dfq_winograd_tile(const dfq_winograd3x3_s8s8_t *layer, const dfq_word_t *sums, int32_t channel,
                                int32_t pixel_bytes, int32_t row_bytes, int8_t *out)
{
    uint32_t top[4], bottom[4];
    DFQ_UNROLL(4)
    for (int32_t i = 0; i < 4; i++) {
        const uint32_t m1 = sums[8 * (4 + i)], m2 = sums[8 * (8 + i)];
        top[i] = sums[8 * i] + m1 + m2;
        bottom[i] = m1 - m2 - sums[8 * (12 + i)];
    }
    const int8_t y00 = dfq_winograd_requantize(layer, top[0] + top[1] + top[2], 2, channel);
    const int8_t y01 = dfq_winograd_requantize(layer, top[1] - top[2] - top[3], 2, channel);
    const int8_t y10 = dfq_winograd_requantize(layer, bottom[0] + bottom[1] + bottom[2], 2, channel);
    const int8_t y11 = dfq_winograd_requantize(layer, bottom[1] - bottom[2] - bottom[3], 2, channel);
    out[0] = y00;
    out[pixel_bytes] = y01;
    out[row_bytes] = y10;
    out[row_bytes + pixel_bytes] = y11;
}

DFQ_INLINE void dfq_winograd_pair_inputs(const void *layer, const int8_t *x, int32_t row_bytes, dfq_word_t *columns)
{
    dfq_winograd_inputs(x, row_bytes, ((const dfq_winograd3x3_s8s8_t *)layer)->shape.in_channels, columns);
}

DFQ_INLINE void dfq_winograd_pair_outputs(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                          dfq_winograd_place_t place)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_SQUARE;
    dfq_winograd_blocks(layer, tiles, dfq_winograd_tile, columns, sums, place);
}

DFQ_KERNEL void dfq_winograd3x3_s8s8_8x4(const dfq_winograd3x3_s8s8_t *layer, const int8_t *x, int8_t *out,
                                         int8_t *scratch)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_SQUARE;
    const int32_t groups = layer->shape.in_channels / 4;
    dfq_winograd_marks((dfq_word_t *)(void *)scratch, tiles.positions, groups);
    dfq_winograd_walk(dfq_winograd_pair_inputs, dfq_winograd_pair_outputs, layer, &layer->shape, tiles, x, out, scratch,
                      DFQ_WINOGRAD_GROUP_WORDS * groups);
}

#endif
