/* The bundled network behind the UART of QEMU's MPS2 boards; what a user writes is the two functions. */
#include "dfq_board.h"

void digits_serial(void);
void dfq_uart_put(uint8_t byte);
int dfq_uart_get(uint32_t milliseconds);

#define UART ((volatile uint32_t *)0x40004000u) /* data, state, control, interrupts, divider */
#define TICKS_PER_MS 25000u

void dfq_uart_put(uint8_t byte)
{
    while ((UART[1] & 1u) != 0u) {
    }
    UART[0] = byte;
}

int dfq_uart_get(uint32_t milliseconds)
{
    const uint64_t end = dfq_ticks() + (uint64_t)milliseconds * TICKS_PER_MS;
    while ((UART[1] & 2u) == 0u) {
        if (dfq_ticks() >= end) {
            return -1;
        }
    }
    return (int)(UART[0] & 0xFFu);
}

int main(void)
{
    UART[4] = 16;
    UART[2] = 3; /* receive and send */
    digits_serial();
    return 0;
}
