/* SPDX-License-Identifier: MIT-0 */
/* Pointwise (1x1) convolution, int8; a fully connected layer is one pixel of it.
 *
 *   x        [pixels][in_channels]
 *   weight   [out_channels][in_channels]
 *   out      [pixels][out_channels]
 *   scratch  2 * in_channels bytes (1 * in_channels for a single pixel)
 *
 * Two pixels are copied to scratch before their outputs are written: `out` may start
 * (pixels - 2) * max(0, out_channels - in_channels) bytes below `x`, or exactly at it when channels do not grow.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_POINTWISE_S8S8_H
#define DFQ_POINTWISE_S8S8_H

#include "dfq_common.h"
#include "dfq_matmul.h"

typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_t requantize;
    int32_t pixels, in_channels, out_channels;
} dfq_pointwise_s8s8_t;

DFQ_KERNEL void dfq_pointwise_s8s8(const dfq_pointwise_s8s8_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    int32_t p = 0;
    for (; p + 2 <= layer->pixels; p += 2) {
        dfq_copy(scratch, x, 2 * layer->in_channels);
        dfq_matmul_two_columns(scratch, layer->in_channels, layer->weight, layer->bias, &layer->requantize, 0,
                               layer->out_channels, out, out + layer->out_channels);
        x += 2 * layer->in_channels;
        out += 2 * layer->out_channels;
    }
    if (p < layer->pixels) {
        dfq_copy(scratch, x, layer->in_channels);
        dfq_matmul_one_column(scratch, layer->in_channels, layer->weight, layer->bias, &layer->requantize, 0,
                              layer->out_channels, out);
    }
}

#endif
