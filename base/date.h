/* base/date.h — dates of the proleptic Gregorian calendar as seconds since 1970. A camera's wall clock
 * is counted as if it were UTC's. Printing: gmtime_r and strftime. */
#ifndef IM_BASE_DATE_H
#define IM_BASE_DATE_H

#include <stdint.h>

/** Days of a month, 28 to 31. month is 1 … 12. */
int im_date_month_days(int year, int month);
/** Seconds since 1970-01-01T00:00:00. Fields as on a calendar (year 1 … 9999, month and day from 1);
 * those out of range are carried over. */
int64_t im_date_seconds(int year, int month, int day, int hour, int minute, int second);

#endif
