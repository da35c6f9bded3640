/* SPDX-License-Identifier: MIT-0 */
/* 1x3 convolution of stride 1, int8, by Winograd's F(2, 3) in integers.
 *
 *   x        [in_height][in_width][in_channels], in_channels a multiple of 4
 *   weight   [out_channels / 4, rounded up][4][in_channels][4], transformed
 *   bias     [out_channels]
 *   out      [out_height][out_width][out_channels]
 *   scratch  36 * in_channels bytes, and the larger of 128 + 16 for each four of out_channels and 6 * in_channels
 *
 * As dfq_winograd1x3_s8s8_dsp.h, which tells of the algorithm, but that the bias is added at the end: the compiler
 * has proved that twice the sum of products fits int32. All inputs of a pair of tiles are read before its first
 * output is written, so `out` may overlap what no later pair reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py and, on Thumb, test_portable_qemu.py.
 */
#ifndef DFQ_WINOGRAD1X3_S8S8_H
#define DFQ_WINOGRAD1X3_S8S8_H

#include "dfq_winograd_blocks.h"

/* B' x of two neighbouring tiles, 6 pixels from `x` on, of all channels. */
DFQ_SHARED void dfq_winograd_line_inputs(const int8_t *x, int32_t channels, dfq_word_t *columns)
{
    const int32_t position_words = DFQ_WINOGRAD_GROUP_WORDS * (channels / 4);
    for (int32_t c = 0; c < channels; c++, x++) {
        const int32_t t0 = x[0], t1 = x[channels], t2 = x[2 * channels];
        const int32_t t3 = x[3 * channels], t4 = x[4 * channels], t5 = x[5 * channels];
        dfq_word_t *to = columns;
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
        columns += c % 4 == 3 ? 3 : 2;
    }
}

/* A' sums of one tile and one channel, requantized. */
DFQ_PART void dfq_winograd_line_tile(const dfq_winograd3x3_s8s8_t *layer, const dfq_word_t *sums, int32_t channel,
                                     int32_t pixel_bytes, DFQ_UNUSED int32_t row_bytes, int8_t *out)
{
    const uint32_t m1 = sums[DFQ_WINOGRAD_SUMS], m2 = sums[2 * DFQ_WINOGRAD_SUMS];
    out[0] = dfq_winograd_requantize(layer, sums[0] + m1 + m2, 1, channel);
    out[pixel_bytes] = dfq_winograd_requantize(layer, m1 - m2 - sums[3 * DFQ_WINOGRAD_SUMS], 1, channel);
}

DFQ_INLINE void dfq_winograd_line_pair_inputs(const void *layer, const int8_t *x, DFQ_UNUSED int32_t row_bytes,
                                              dfq_word_t *columns)
{
    dfq_winograd_line_inputs(x, ((const dfq_winograd3x3_s8s8_t *)layer)->shape.in_channels, columns);
}

DFQ_INLINE void dfq_winograd_line_pair_outputs(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                               dfq_winograd_place_t place)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_LINE;
    dfq_winograd_blocks(layer, tiles, dfq_winograd_line_tile, columns, sums, place);
}

DFQ_KERNEL void dfq_winograd1x3_s8s8_4x4(const dfq_winograd3x3_s8s8_t *layer, const int8_t *x, int8_t *out,
                                         int8_t *scratch)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_LINE;
    const int32_t groups = layer->shape.in_channels / 4;
    dfq_winograd_marks((dfq_word_t *)(void *)scratch, tiles.positions, groups);
    dfq_winograd_walk(dfq_winograd_line_pair_inputs, dfq_winograd_line_pair_outputs, layer, &layer->shape, tiles, x,
                      out, scratch, DFQ_WINOGRAD_GROUP_WORDS * groups);
}

#endif
