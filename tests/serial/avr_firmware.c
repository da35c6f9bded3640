/* The bundled network behind UART 0 of an ATmega2560 at 16 MHz; what a user writes is the two functions. */
#include <avr/io.h>
#include <stdint.h>
#include <util/delay.h>

void digits_serial(void);
void dfq_uart_put(uint8_t byte);
int dfq_uart_get(uint32_t milliseconds);
uint32_t avr_cycles(void);

#define POLL_US 10

void dfq_uart_put(uint8_t byte)
{
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = byte;
}

int dfq_uart_get(uint32_t milliseconds)
{
    for (uint32_t polls = milliseconds * (1000u / POLL_US); polls > 0; polls--) {
        if ((UCSR0A & (1 << RXC0)) != 0) {
            return UDR0;
        }
        _delay_us(POLL_US);
    }
    return -1;
}

/* Timer 1 counts every 1024 cycles; it is read more often than it overflows. */
uint32_t avr_cycles(void)
{
    static uint32_t before;
    if ((TIFR1 & (1 << TOV1)) != 0) {
        TIFR1 = 1 << TOV1;
        before += 65536u;
    }
    return (before + TCNT1) * 1024u;
}

int main(void)
{
    TCCR1B = (1 << CS12) | (1 << CS10);
    UBRR0 = 7; /* 250,000 baud with U2X0 */
    UCSR0A = 1 << U2X0;
    UCSR0B = (1 << RXEN0) | (1 << TXEN0);
    digits_serial();
    return 0;
}
