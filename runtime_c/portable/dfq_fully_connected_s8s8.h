/* SPDX-License-Identifier: MIT-0 */
/* Fully connected layer, int8.
 *
 *   x        [in_channels]
 *   weight   [out_channels][in_channels]
 *   out      [out_channels], disjoint from x
 *
 * Equals QConv2D over a single pixel bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_FULLY_CONNECTED_S8S8_H
#define DFQ_FULLY_CONNECTED_S8S8_H

#include "dfq_common.h"
#include "dfq_matmul.h"

typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_t requantize;
    int32_t in_channels, out_channels;
} dfq_fully_connected_s8s8_t;

DFQ_KERNEL void dfq_fully_connected_s8s8(const dfq_fully_connected_s8s8_t *layer, const int8_t *x, int8_t *out)
{
    dfq_matmul_one_column(x, layer->in_channels, layer->weight, layer->bias, &layer->requantize, 0, layer->out_channels,
                          out);
}

#endif
