/* tests/index/test_columns_damage.c */
int main(void) { return 0; }
