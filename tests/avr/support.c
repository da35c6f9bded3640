#include "support.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdlib.h>

void avr_print(const char *text)
{
    UCSR0B = _BV(TXEN0);
    for (; *text != 0; text++) {
        while ((UCSR0A & _BV(UDRE0)) == 0) {
        }
        UDR0 = (uint8_t)*text;
    }
}

void avr_print_number(int number)
{
    char digits[8];
    itoa(number, digits, 10);
    avr_print(digits);
    avr_print(" ");
}

/* simavr ends where a core sleeps that nothing can wake. */
void avr_end(void)
{
    cli();
    sleep_enable();
    sleep_cpu();
}
