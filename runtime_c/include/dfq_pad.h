/* A constant border around an int8 tensor of three axes (the compiler merges axes without padding).
 *
 *   x    [size[0]][size[1]][size[2]]
 *   out  [before[0] + size[0] + after[0]] ...
 *
 * Equals QPad bit for bit.
 */
#ifndef DFQ_PAD_H
#define DFQ_PAD_H

#include "dfq_common.h"

typedef struct {
    int32_t size[3], before[3], after[3];
    int32_t value;
} dfq_pad_t;

DFQ_KERNEL void dfq_pad(const dfq_pad_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t run = layer->size[2];
    const int32_t line = layer->before[2] + run + layer->after[2];
    const int32_t plane = (layer->before[1] + layer->size[1] + layer->after[1]) * line;

    dfq_fill(out, layer->value, layer->before[0] * plane);
    out += layer->before[0] * plane;
    for (int32_t i = 0; i < layer->size[0]; i++) {
        dfq_fill(out, layer->value, layer->before[1] * line);
        out += layer->before[1] * line;
        for (int32_t j = 0; j < layer->size[1]; j++) {
            dfq_fill(out, layer->value, layer->before[2]);
            out += layer->before[2];
            dfq_copy(out, x, run);
            x += run;
            out += run;
            dfq_fill(out, layer->value, layer->after[2]);
            out += layer->after[2];
        }
        dfq_fill(out, layer->value, layer->after[1] * line);
        out += layer->after[1] * line;
    }
    dfq_fill(out, layer->value, layer->after[0] * plane);
}

#endif
