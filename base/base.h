/* base/base.h — what nearly every file wants. The other headers of base/ are included by name. */
#ifndef IM_BASE_BASE_H
#define IM_BASE_BASE_H

#include "base/error.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"

#endif
