/* base/log.h — `level event key=value …` lines on standard error. Lower rooms log at debug only. */
#ifndef IM_BASE_LOG_H
#define IM_BASE_LOG_H

#include "base/error.h"

typedef enum im_log_level { IM_LOG_ERROR, IM_LOG_WARN, IM_LOG_INFO, IM_LOG_DEBUG } im_log_level;

/** Lines above this level are not written; default IM_LOG_WARN. */
void im_log_set_level(im_log_level level);
/** One line; control bytes are escaped. */
void im_log(im_log_level level, const char *event, const char *fmt, ...) IM_PRINTF(3, 4);

#endif
