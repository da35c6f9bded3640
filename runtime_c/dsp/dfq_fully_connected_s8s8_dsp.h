/* SPDX-License-Identifier: MIT-0 */
/* Fully connected layer, int8, Arm DSP extension.
 *
 *   x        [in_channels], word aligned
 *   stream   weights packed for dfq_dsp_matmul.h
 *   y        [out_channels], disjoint from x
 *   scratch  depth bytes where in_channels is not a multiple of 4 (dfq_fully_connected_padded_s8s8_1x4_dsp),
 *            2 * in_channels bytes for dfq_fully_connected_widened_s8s8_1x4_dsp, else none
 *
 * Equals QConv2D over a single pixel bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_FULLY_CONNECTED_S8S8_DSP_H
#define DFQ_FULLY_CONNECTED_S8S8_DSP_H

#include "dfq_dsp_matmul.h"

typedef struct {
    dfq_dsp_matmul_t matmul;
    dfq_dsp_bounds_t bounds;
    int32_t in_channels;
} dfq_fully_connected_s8s8_dsp_t;

DFQ_KERNEL void dfq_fully_connected_s8s8_1x4_dsp(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x,
                                                 int8_t *y)
{
    const dfq_dsp_matmul_t *matmul = &layer->matmul;
    const dfq_dsp_matmul_args_t args = dfq_dsp_matmul_args(
        matmul, x, matmul->depth, matmul->depth / 4,
        DFQ_DSP_IS_PLAIN(matmul) ? DFQ_DSP_STEP_1X4_PLAIN_BYTES : DFQ_DSP_STEP_1X4_BYTES, DFQ_DSP_UNROLL);
    if (DFQ_DSP_IS_PLAIN(matmul)) {
        dfq_dsp_matmul_1x4_plain(x, &args, y);
    } else {
        dfq_dsp_matmul_1x4_paired(x, &args, y);
    }
    dfq_dsp_clamp(&layer->bounds, y, 1, matmul->out_channels);
}

/* The same with the input widened once, not for each four channels; the paired form alone. */
DFQ_KERNEL void dfq_fully_connected_widened_s8s8_1x4_dsp(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x,
                                                         int8_t *y, int8_t *scratch)
{
    const dfq_dsp_matmul_t *matmul = &layer->matmul;
    dfq_word_t *pairs = (dfq_word_t *)(void *)scratch;
    DFQ_UNROLL(4)
    for (int32_t k = 0; k < matmul->depth; k += 4) {
        const uint32_t word = dfq_dsp_load(x + k);
        pairs[k / 2] = dfq_dsp_widen_even(word);
        pairs[k / 2 + 1] = dfq_dsp_widen_odd(word);
    }
    const dfq_dsp_matmul_args_t args = dfq_dsp_matmul_args(matmul, pairs, 2 * matmul->depth, matmul->depth / 4,
                                                           DFQ_DSP_STEP_1X4_WIDENED_BYTES, DFQ_DSP_UNROLL);
    dfq_dsp_matmul_1x4_widened(pairs, &args, y);
    dfq_dsp_clamp(&layer->bounds, y, 1, matmul->out_channels);
}

/* The same with an input that ends inside a word: its padding meets zero weights. */
DFQ_KERNEL void dfq_fully_connected_padded_s8s8_1x4_dsp(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x,
                                                        int8_t *y, int8_t *scratch)
{
    for (int32_t i = 0; i < layer->matmul.depth; i += 4) {
        dfq_dsp_store(scratch + i, dfq_dsp_load_lanes(x + i, layer->in_channels - i));
    }
    dfq_fully_connected_s8s8_1x4_dsp(layer, scratch, y);
}

#endif
