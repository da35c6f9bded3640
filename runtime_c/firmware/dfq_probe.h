/* SPDX-License-Identifier: MIT-0 */
/* Called by a network built for profiling (-include dfq_probe.h -D<NETWORK>_PROBE=dfq_probe) with i before
 * layer i, and with the number of layers after the last. */
#ifndef DFQ_PROBE_H
#define DFQ_PROBE_H

void dfq_probe(int layer);

#endif
