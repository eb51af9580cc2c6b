// Programs that try to harm the machine or outlive their check.
