/* base/banned.h — calls that have no place here; force-included into every C file by the build. */
#ifndef IM_BASE_BANNED_H
#define IM_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__has_include)
#if __has_include(<alloca.h>)
#include <alloca.h>
#endif
#endif

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atof gets

#undef alloca
#define alloca(n) imago_banned_alloca_use_im_alloc

#endif
