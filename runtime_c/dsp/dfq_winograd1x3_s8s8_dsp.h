/* SPDX-License-Identifier: MIT-0 */
/* 1x3 convolution of stride 1, int8, by Winograd's F(2, 3) in integers, Arm DSP extension.
 *
 *   x        [in_height][in_width][in_channels], in_channels a multiple of 4
 *   stream   transformed weights, see below
 *   y        [out_height][out_width][out_channels]
 *   scratch  144 * groups bytes, and the larger of 128 + 16 * blocks and 6 * in_channels
 *
 * Two outputs beside each other cost 4 products for an input channel in place of 6 (Lavin and Gray 2016, 4.1):
 *
 *   2 * y = A' [sum over channels 2G w * B' x]
 *
 * with x the 4 inputs under them; as in dfq_winograd3x3_s8s8_dsp.h, in one dimension. Inputs grow to at most 256 and
 * weights to 384; the compiler has proved that twice the accumulator, bias included, fits int32. The stream is that of
 * dfq_dsp_winograd.h, with twice the biases. All inputs of a pair of tiles, 1x4 outputs, are read before its first
 * output is written, so `y` may overlap what no later pair reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_WINOGRAD1X3_S8S8_DSP_H
#define DFQ_WINOGRAD1X3_S8S8_DSP_H

#include "dfq_dsp_winograd.h"

/* B' x of two neighbouring tiles, 6 pixels from `x` on, of all channels. */
DFQ_SHARED void dfq_dsp_winograd_line_inputs(const int8_t *x, int32_t channels, dfq_word_t *columns,
                                             int32_t position_words)
{
    for (int32_t c = 0; c < channels; c += 4, x += 4) {
        uint32_t words[6];
        const int8_t *pixel = x;
        for (int32_t i = 0; i < 6; i++, pixel += channels) {
            words[i] = dfq_dsp_load(pixel);
        }
        for (int32_t odd = 0; odd < 2; odd++) {
            uint32_t t[6];
            for (int32_t i = 0; i < 6; i++) {
                t[i] = odd == 0 ? dfq_dsp_widen_even(words[i]) : dfq_dsp_widen_odd(words[i]);
            }
            dfq_word_t *at = columns + 2 * odd;
            at[0] = dfq_dsp_subtract_halves(t[0], t[2]);
            at[1] = dfq_dsp_subtract_halves(t[2], t[4]);
            at += position_words;
            at[0] = dfq_dsp_add_halves(t[1], t[2]);
            at[1] = dfq_dsp_add_halves(t[3], t[4]);
            at += position_words;
            at[0] = dfq_dsp_subtract_halves(t[2], t[1]);
            at[1] = dfq_dsp_subtract_halves(t[4], t[3]);
            at += position_words;
            at[0] = dfq_dsp_subtract_halves(t[1], t[3]);
            at[1] = dfq_dsp_subtract_halves(t[3], t[5]);
        }
        columns += c % 8 == 0 ? 4 : DFQ_DSP_WINOGRAD_GROUP_WORDS - 4;
    }
}

/* A' sums of two tiles and four channels, requantized by `scales`, to pixels so many bytes apart. */
DFQ_SHARED void dfq_dsp_winograd_line_outputs(const dfq_word_t *sums, const int32_t *scales, int32_t zero_point,
                                              int8_t *out, int32_t pixel_bytes, DFQ_UNUSED int32_t row_bytes)
{
    for (int32_t tile = 0; tile < 2; tile++, out += 2 * pixel_bytes) {
        for (int32_t c = 0; c < 4; c++, sums++) {
            const uint32_t middle = sums[8] + (uint32_t)scales[c];
            const int32_t multiplier = scales[4 + c];
            out[c] = dfq_dsp_winograd_scale(sums[0] + middle + sums[16], 1, multiplier, zero_point);
            out[c + pixel_bytes] = dfq_dsp_winograd_scale(middle - sums[16] - sums[24], 1, multiplier, zero_point);
        }
    }
}

DFQ_INLINE void dfq_dsp_winograd_line_pair_inputs(const void *layer, const int8_t *x, DFQ_UNUSED int32_t row_bytes,
                                                  dfq_word_t *columns)
{
    const int32_t channels = ((const dfq_winograd3x3_s8s8_dsp_t *)layer)->shape.in_channels;
    dfq_dsp_winograd_line_inputs(x, channels, columns, DFQ_DSP_WINOGRAD_GROUP_WORDS * ((channels + 7) / 8));
}

DFQ_INLINE void dfq_dsp_winograd_line_pair_outputs(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                                   dfq_winograd_place_t place)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_LINE;
    dfq_dsp_winograd_blocks(layer, tiles, dfq_dsp_winograd_line_outputs, columns, sums, place);
}

DFQ_KERNEL void dfq_winograd1x3_s8s8_4x4_dsp(const dfq_winograd3x3_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                             int8_t *scratch)
{
    const dfq_winograd_tiles_t tiles = DFQ_WINOGRAD_LINE;
    const int32_t groups = (layer->shape.in_channels + 7) / 8;
    dfq_dsp_winograd_marks((dfq_word_t *)(void *)scratch, tiles.positions, groups);
    dfq_winograd_walk(dfq_dsp_winograd_line_pair_inputs, dfq_dsp_winograd_line_pair_outputs, layer, &layer->shape,
                      tiles, x, y, scratch, DFQ_DSP_WINOGRAD_GROUP_WORDS * groups);
}

#endif
