/* SPDX-License-Identifier: MIT-0 */
/* Pointwise (1x1) convolution, int8, Arm DSP extension.
 *
 *   x        [pixels][in_channels], in_channels a multiple of 4
 *   stream   weights packed for dfq_dsp_matmul.h
 *   y        [pixels][out_channels]
 *   scratch  4 * in_channels bytes
 *
 * Two pixels are widened to scratch before their outputs are written, so `y` may follow close behind in `x`.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_POINTWISE_S8S8_DSP_H
#define DFQ_POINTWISE_S8S8_DSP_H

#include "dfq_dsp_matmul.h"
#include "dfq_dsp_widen.h"

typedef struct {
    dfq_dsp_matmul_t matmul;
    dfq_dsp_bounds_t bounds;
    int32_t pixels;
} dfq_pointwise_s8s8_dsp_t;

DFQ_KERNEL void dfq_pointwise_s8s8_2x4_dsp(const dfq_pointwise_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                           int8_t *scratch)
{
    const dfq_dsp_matmul_t *matmul = &layer->matmul;
    const int32_t in_channels = matmul->depth;
    dfq_word_t *columns = (dfq_word_t *)(void *)scratch;
    const dfq_dsp_matmul_args_t args = dfq_dsp_pair_args(matmul, columns);
    for (int32_t pixel = 0; pixel < layer->pixels; pixel += 2) {
        /* A single last pixel is computed twice, to one place. */
        const int32_t second = pixel + 1 < layer->pixels ? 1 : 0;
        dfq_dsp_widen_pair(columns, x, x + second * in_channels, in_channels);
        dfq_dsp_matmul_pair(matmul, &layer->bounds, columns, &args, y, y + second * matmul->out_channels);
        x += 2 * in_channels;
        y += 2 * matmul->out_channels;
    }
}

#endif
