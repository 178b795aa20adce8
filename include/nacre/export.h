/* Symbol visibility: everything else in the library is hidden. */
#ifndef NACRE_EXPORT_H
#define NACRE_EXPORT_H

#if defined(_WIN32) && defined(NACRE_SHARED)
#ifdef NACRE_BUILDING
#define NACRE_API __declspec(dllexport)
#else
#define NACRE_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define NACRE_API __attribute__((visibility("default")))
#else
#define NACRE_API
#endif

/* The place of a call, for the functions that end in _at: nacre_add_at(a, b, NACRE_HERE). */
#define NACRE_HERE __FILE__, __LINE__

#endif
