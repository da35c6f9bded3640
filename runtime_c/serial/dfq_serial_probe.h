/* SPDX-License-Identifier: MIT-0 */
/* For a network whose cycles are told by layer over a serial port: compile <name>.c with
 * -include dfq_serial_probe.h -D<NAME>_PROBE=dfq_serial_probe */
#ifndef DFQ_SERIAL_PROBE_H
#define DFQ_SERIAL_PROBE_H

void dfq_serial_probe(int layer);

#endif
