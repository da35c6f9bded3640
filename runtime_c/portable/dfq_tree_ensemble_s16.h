/* SPDX-License-Identifier: MIT-0 */
/* Sum of decision trees on int8 or int16 features.
 *
 *   x         [features], int8 or int16
 *   feature   [nodes], and threshold: to the first child where x[feature] <= threshold, else to the second
 *   children  [nodes][2], and roots [trees]: a node, or -1 - the number of a leaf
 *   leaves    [leaves][outputs], start [outputs]
 *   out       [outputs], int8 or int16
 *   scratch   4 bytes an output: the sums
 *
 * A child has a larger number than its parent, so that each walk ends; the compiler has checked it, and that sums fit 32
 * bits. `out` overlaps no input. Equals QTreeEnsemble bit for bit.
 * Tested by tests/kernels/test_trees.py.
 */
#ifndef DFQ_TREE_ENSEMBLE_S16_H
#define DFQ_TREE_ENSEMBLE_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int16_t *feature, *threshold, *children, *roots, *leaves;
    const DFQ_FLASH int32_t *start;
    int32_t trees, outputs;
    int32_t shift, zero_point, lo, hi;
    int32_t in_wide, out_wide;
} dfq_tree_ensemble_s16_t;

DFQ_KERNEL void dfq_tree_ensemble_s16(const dfq_tree_ensemble_s16_t *layer, const int8_t *x, int8_t *out,
                                      int8_t *scratch)
{
    int32_t *sums = (int32_t *)(void *)scratch;
    for (int32_t k = 0; k < layer->outputs; k++) {
        sums[k] = layer->start[k] + ((int32_t)1 << layer->shift >> 1);
    }
    for (int32_t tree = 0; tree < layer->trees; tree++) {
        int32_t node = layer->roots[tree];
        while (node >= 0) {
            const int32_t value = dfq_load(x, layer->in_wide, layer->feature[node]);
            node = layer->children[2 * node + (value > layer->threshold[node] ? 1 : 0)];
        }
        const DFQ_FLASH int16_t *leaf = layer->leaves + (-1 - node) * layer->outputs;
        for (int32_t k = 0; k < layer->outputs; k++) {
            sums[k] += leaf[k];
        }
    }
    for (int32_t k = 0; k < layer->outputs; k++) {
        const int32_t value = layer->zero_point + dfq_shift_right(sums[k], layer->shift);
        dfq_store(out, layer->out_wide, k, value < layer->lo ? layer->lo : value > layer->hi ? layer->hi : value);
    }
}

#endif
