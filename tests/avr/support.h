/* The serial port of a simulated AVR core, and the end of a simulation. */
#ifndef SUPPORT_H
#define SUPPORT_H

void avr_print(const char *text);
void avr_print_number(int number); /* and a space */
void avr_end(void);

#endif
