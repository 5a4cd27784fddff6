/*
 * What the Mac's SDK declares here and Zig's headers lack, as far as Go modules of this build call
 * it. For `make darwin-check` only, which compiles but never links.
 */
#pragma once
#include <mach/mach_types.h>
#include <mach/vm_region.h>

kern_return_t mach_vm_region(vm_map_read_t target, mach_vm_address_t *address, mach_vm_size_t *size,
                             vm_region_flavor_t flavor, vm_region_info_t info,
                             mach_msg_type_number_t *info_count, mach_port_t *object_name);
