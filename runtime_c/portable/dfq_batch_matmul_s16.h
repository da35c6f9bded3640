/* SPDX-License-Identifier: MIT-0 */
/* Products of matrices that are activations both, int8 or int16 each.
 *
 *   a    [batches][rows][depth]
 *   b    [batches], an element of column p at depth k at k * step_depth + p * step_column
 *   out  [batches][rows][columns]
 *
 * An operand less its zero point is shifted right, rounded half up, so that no sum of products leaves 32 bits:
 * the compiler has proved it. `out` overlaps no input. Equals QMatMul bit for bit.
 * Tested by tests/kernels/test_attention.py.
 */
#ifndef DFQ_BATCH_MATMUL_S16_H
#define DFQ_BATCH_MATMUL_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    int32_t batches, rows, columns, depth;
    int32_t step_depth, step_column;
    int32_t zero_a, zero_b, shift_a, shift_b;
    int32_t multiplier, pre_shift, zero_point, lo, hi;
    int32_t a_wide, b_wide, out_wide;
} dfq_batch_matmul_s16_t;

DFQ_KERNEL void dfq_batch_matmul_s16(const dfq_batch_matmul_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t depth = layer->depth;
    /* The rounding half of each operand rides with its zero point. */
    const int32_t offset_a = ((int32_t)1 << layer->shift_a >> 1) - layer->zero_a;
    const int32_t offset_b = ((int32_t)1 << layer->shift_b >> 1) - layer->zero_b;
    for (int32_t row = 0, i = 0; row < layer->batches * layer->rows; row++) {
        const int32_t start = row / layer->rows * depth * layer->columns;
        for (int32_t column = 0; column < layer->columns; column++, i++) {
            int32_t acc = 0;
            for (int32_t k = 0; k < depth; k++) {
                const int32_t place = start + k * layer->step_depth + column * layer->step_column;
                const int32_t left = dfq_load(a, layer->a_wide, row * depth + k) + offset_a;
                const int32_t right = dfq_load(b, layer->b_wide, place) + offset_b;
                acc += dfq_shift_right(left, layer->shift_a) * dfq_shift_right(right, layer->shift_b);
            }
            const int32_t shifted = acc * (int32_t)((uint32_t)1 << layer->pre_shift);
            const int32_t value = layer->zero_point + dfq_multiply_round(shifted, layer->multiplier);
            dfq_store(out, layer->out_wide, i, value < layer->lo ? layer->lo : value > layer->hi ? layer->hi : value);
        }
    }
}

#endif
