/* SPDX-License-Identifier: MIT-0 */
/* Runs a network's self-test on the board and reports instructions per layer.
 *
 * Compiled with -DDFQ_NETWORK=<name> -DDFQ_NETWORK_HEADER='"<name>.h"' -DDFQ_LAYERS=<how many>. Each line of output begins with
 * "dfq", numbers are hexadecimal:
 *
 *     dfq layer <index> <ticks, all runs together> <runs>
 *     dfq stack <bytes>
 *     dfq wrong <output values that differ from the golden vectors>
 */
#include DFQ_NETWORK_HEADER

#include "dfq_board.h"
#include "dfq_probe.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
typedef JOIN(DFQ_NETWORK, _t) network_t;

int JOIN(DFQ_NETWORK, _selftest)(network_t *network);

static network_t network;
static uint64_t layer_ticks[DFQ_LAYERS + 1]; /* the last: between inferences */
static uint32_t runs;
static uint64_t last_ticks;
static int last_layer;

/* Layers that run row by row begin many times in one inference, in any order. */
void dfq_probe(int layer)
{
    const uint64_t now = dfq_ticks();
    layer_ticks[last_layer] += now - last_ticks;
    runs += layer == DFQ_LAYERS;
    last_layer = layer;
    last_ticks = dfq_ticks(); /* the bookkeeping above is not the layer's */
}

int main(void)
{
    last_layer = DFQ_LAYERS;
    const int wrong = JOIN(DFQ_NETWORK, _selftest)(&network);
    const uint32_t stack_bytes = dfq_stack_used();
    for (int layer = 0; layer < DFQ_LAYERS && runs != 0; layer++) {
        dfq_print("dfq layer ");
        dfq_print_hex((uint64_t)layer);
        dfq_print(" ");
        dfq_print_hex(layer_ticks[layer]);
        dfq_print(" ");
        dfq_print_hex(runs);
        dfq_print("\n");
    }
    dfq_print("dfq stack ");
    dfq_print_hex(stack_bytes);
    dfq_print("\ndfq wrong ");
    dfq_print_hex((uint32_t)wrong);
    dfq_print("\n");
    return wrong != 0;
}
